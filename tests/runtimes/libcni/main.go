// Does with a conflist what a runtime does, with the library that most of them use: driver VERB CONFLIST, and a JSON
// object on stdin with what belongs to the call. Prints the result; an error goes to stderr.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containernetworking/cni/libcni"
)

type call struct {
	ContainerID  string                 `json:"containerID"`
	NetNS        string                 `json:"netns"`
	Args         [][2]string            `json:"args"`
	Capabilities map[string]interface{} `json:"capabilities"`
	// For GC: the containers that are still there.
	Valid []string `json:"valid"`
}

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(verb, path string) error {
	list, err := libcni.ConfListFromFile(path)
	if err != nil {
		return err
	}
	var it call
	if err := json.NewDecoder(os.Stdin).Decode(&it); err != nil {
		return fmt.Errorf("stdin: %w", err)
	}
	cni := libcni.NewCNIConfig(filepath.SplitList(os.Getenv("CNI_PATH")), nil)
	rt := &libcni.RuntimeConf{
		ContainerID:    it.ContainerID,
		NetNS:          it.NetNS,
		IfName:         "eth0",
		Args:           it.Args,
		CapabilityArgs: it.Capabilities,
	}
	ctx := context.Background()
	switch verb {
	case "ADD":
		result, err := cni.AddNetworkList(ctx, list, rt)
		if err != nil {
			return err
		}
		return result.Print()
	case "CHECK":
		return cni.CheckNetworkList(ctx, list, rt)
	case "DEL":
		return cni.DelNetworkList(ctx, list, rt)
	case "VALIDATE":
		_, err := cni.ValidateNetworkList(ctx, list)
		return err
	case "STATUS":
		return status(ctx, cni, list)
	case "GC":
		return gc(ctx, cni, list, it.Valid)
	}
	return fmt.Errorf("no such verb: %s", verb)
}

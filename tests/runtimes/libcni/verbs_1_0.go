//go:build !cni_1_1

package main

import (
	"context"
	"errors"

	"github.com/containernetworking/cni/libcni"
)

var errOld = errors.New("this libcni knows neither GC nor STATUS: they came with CNI 1.1")

func status(context.Context, *libcni.CNIConfig, *libcni.NetworkConfigList) error { return errOld }

func gc(context.Context, *libcni.CNIConfig, *libcni.NetworkConfigList, []string) error { return errOld }

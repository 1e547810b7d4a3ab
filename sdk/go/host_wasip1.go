package wasmhook

import "unsafe"

//go:wasmimport wasmhook call
func hostCall(call string) int32

//go:wasmimport wasmhook reply
func hostReply(reply unsafe.Pointer, capacity int32) int32

func perform(call []byte) []byte {
	size := hostCall(unsafe.String(unsafe.SliceData(call), len(call)))
	if size <= 0 {
		return nil
	}
	reply := make([]byte, size)
	return reply[:hostReply(unsafe.Pointer(unsafe.SliceData(reply)), size)]
}

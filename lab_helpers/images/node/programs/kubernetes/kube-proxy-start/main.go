// Starts kube-proxy with the kind of iptables (nft or legacy) that the node's kubelet uses. The kubelet leaves a chain
// of a known name for this purpose: https://github.com/kubernetes/enhancements/tree/master/keps/sig-network/3178-iptables-cleanup
package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

const hint = "KUBE-IPTABLES-HINT"

func main() {
	kind := "nft"
	for _, other := range []string{"nft", "legacy"} {
		rules, err := exec.Command("/usr/sbin/xtables-"+other+"-multi", "iptables-save", "-t", "mangle").Output()
		if err == nil && bytes.Contains(rules, []byte(hint)) {
			kind = other
			break
		}
	}
	_ = os.Setenv("PATH", "/iptables/"+kind+":"+os.Getenv("PATH"))
	program := "/usr/local/bin/kube-proxy.real"
	err := syscall.Exec(program, append([]string{"kube-proxy"}, os.Args[1:]...), os.Environ())
	fmt.Fprintln(os.Stderr, program, err)
	os.Exit(1)
}

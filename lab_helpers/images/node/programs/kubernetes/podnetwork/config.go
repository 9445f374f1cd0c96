package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
)

// Where containerd looks for the configuration of the pods' network.
const configFile = "/etc/cni/net.d/10-pod-network.conflist"

// Says how pods get their link (ptp), their address (host-local, out of this node's part of the pod network) and their
// hostPorts (portmap). The file is replaced whole, and left alone when it says so already.
func writeConfig(own netip.Prefix, mtu int) error {
	type object = map[string]any
	text, err := json.MarshalIndent(object{
		"cniVersion": "1.0.0",
		"name":       "pod-network",
		"plugins": []object{{
			"type": "ptp",
			"mtu":  mtu,
			"ipam": object{
				"type":    "host-local",
				"dataDir": "/run/cni-ipam-state", // addresses end with the node's boot, as its pods do
				"routes":  []object{{"dst": "0.0.0.0/0"}},
				"ranges":  [][]object{{{"subnet": own.String()}}},
			},
		}, {
			"type":         "portmap",
			"capabilities": object{"portMappings": true},
		}},
	}, "", "  ")
	if err != nil {
		return err
	}
	old, err := os.ReadFile(configFile)
	if err == nil && bytes.Equal(old, text) {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("CNI configuration: %w", err)
	}
	part := filepath.Join(filepath.Dir(configFile), ".pod-network.part") // no name that containerd would read
	if err := os.WriteFile(part, text, 0o644); err != nil {
		return fmt.Errorf("CNI configuration: %w", err)
	}
	return os.Rename(part, configFile)
}

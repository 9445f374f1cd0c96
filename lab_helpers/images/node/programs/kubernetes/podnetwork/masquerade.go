package main

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
)

// The name of our table. Nothing else on the node writes to it, so it is replaced whole.
const table = "pod-network"

// Hides pods behind their node's address where they speak to somebody outside of the pod network. In nft's words:
//
//	table ip pod-network { chain leave { type nat hook postrouting priority srcnat;
//	    ip saddr POD-NETWORK ip daddr != POD-NETWORK masquerade } }
func masquerade(podNetwork netip.Prefix) error {
	nft, err := nftables.New()
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	ours := nft.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: table})
	leave := nft.AddChain(&nftables.Chain{
		Name:     "leave",
		Table:    ours,
		Type:     nftables.ChainTypeNAT,
		Hooknum:  nftables.ChainHookPostrouting,
		Priority: nftables.ChainPriorityNATSource,
	})
	nft.FlushChain(leave)
	const source, destination = 12, 16 // where an IPv4 header has them
	what := append(address4(source, podNetwork, expr.CmpOpEq), address4(destination, podNetwork, expr.CmpOpNeq)...)
	nft.AddRule(&nftables.Rule{Table: ours, Chain: leave, Exprs: append(what, &expr.Masq{})})
	if err := nft.Flush(); err != nil { // one transaction: no packet ever meets an empty chain
		return fmt.Errorf("nftables: %w", err)
	}
	return nil
}

// Compares the address at this offset of the IPv4 header, cut to the network's bits, with the network.
func address4(offset uint32, network netip.Prefix, how expr.CmpOp) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4},
		&expr.Bitwise{
			SourceRegister: 1,
			DestRegister:   1,
			Len:            4,
			Mask:           net.CIDRMask(network.Bits(), 32),
			Xor:            binaryutil.NativeEndian.PutUint32(0),
		},
		&expr.Cmp{Op: how, Register: 1, Data: network.Masked().Addr().AsSlice()},
	}
}

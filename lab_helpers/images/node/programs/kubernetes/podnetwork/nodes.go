package main

import (
	"log"
	"net/netip"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	listers "k8s.io/client-go/listers/core/v1"
)

// What this node must know of the cluster.
type view struct {
	own    netip.Prefix                // the part of the pod network that this node's pods live in
	others map[netip.Prefix]netip.Addr // the parts of the other nodes, and where to send what is for them
}

func look(nodes listers.NodeLister, self string) view {
	seen := view{others: map[netip.Prefix]netip.Addr{}}
	all, err := nodes.List(labels.Everything())
	if err != nil {
		log.Print(err)
	}
	for _, node := range all {
		pods, err := netip.ParsePrefix(node.Spec.PodCIDR)
		if err != nil {
			continue // not given yet
		}
		if node.Name == self {
			seen.own = pods
		} else if address := internalAddress(node); address.Is4() {
			seen.others[pods] = address
		}
	}
	return seen
}

func internalAddress(node *core.Node) netip.Addr {
	for _, each := range node.Status.Addresses {
		if each.Type == core.NodeInternalIP {
			if address, err := netip.ParseAddr(each.Address); err == nil && address.Is4() {
				return address
			}
		}
	}
	return netip.Addr{}
}

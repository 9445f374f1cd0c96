package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The mark of our routes in the kernel's table, so that nobody else's is ever removed. `ip route` shows it as "proto 187".
const ours = netlink.RouteProtocol(187)

// Makes the kernel's routes to the other nodes' pods these and no others. Returns the largest packet (MTU) that the
// network between the nodes takes.
func setRoutes(wanted map[netip.Prefix]netip.Addr) (int, error) {
	stale, err := netlink.RouteListFiltered(unix.AF_INET, &netlink.Route{Protocol: ours}, netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return 0, fmt.Errorf("list routes: %w", err)
	}
	var failed error
	for _, route := range stale {
		if to, ok := prefix(route.Dst); !ok || wanted[to] != address(route.Gw) {
			failed = errors.Join(failed, netlink.RouteDel(&route))
		}
	}
	for pods, node := range wanted {
		route := netlink.Route{
			Dst:      &net.IPNet{IP: pods.Addr().AsSlice(), Mask: net.CIDRMask(pods.Bits(), 32)},
			Gw:       node.AsSlice(),
			Protocol: ours,
		}
		if err := netlink.RouteReplace(&route); err != nil {
			failed = errors.Join(failed, fmt.Errorf("route to %s by %s: %w", pods, node, err))
		}
	}
	mtu, err := nodeMTU()
	return mtu, errors.Join(failed, err)
}

// The MTU of the link that the default route uses.
func nodeMTU() (int, error) {
	routes, err := netlink.RouteListFiltered(unix.AF_INET, &netlink.Route{Dst: nil}, netlink.RT_FILTER_DST)
	if err != nil || len(routes) == 0 {
		return 0, fmt.Errorf("no default route on this node: %w", err)
	}
	link, err := netlink.LinkByIndex(routes[0].LinkIndex)
	if err != nil {
		return 0, fmt.Errorf("link of the default route: %w", err)
	}
	return link.Attrs().MTU, nil
}

func prefix(network *net.IPNet) (netip.Prefix, bool) {
	if network == nil {
		return netip.Prefix{}, false
	}
	bits, _ := network.Mask.Size()
	return netip.PrefixFrom(address(network.IP), bits), true
}

func address(ip net.IP) netip.Addr {
	parsed, _ := netip.AddrFromSlice(ip)
	return parsed.Unmap()
}

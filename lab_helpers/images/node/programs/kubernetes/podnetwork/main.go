// The pod network of a kind cluster, one agent on every node. Pods get their addresses and their link from the standard
// CNI plugins (ptp, host-local, portmap), which this agent configures; it adds the routes to the pods of the other
// nodes, and hides pods behind their node where they speak to somebody outside of the pod network. IPv4 only.
package main

import (
	"context"
	"log"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// How often everything is looked at again, though no node has changed: somebody may have removed a route by hand.
const again = 30 * time.Second

func main() {
	log.SetFlags(log.LstdFlags | log.Lmsgprefix)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	podNetwork, err := netip.ParsePrefix(os.Getenv("POD_SUBNET"))
	if err != nil || !podNetwork.Addr().Is4() {
		log.Fatalf("POD_SUBNET must be an IPv4 network such as 10.244.0.0/16: %q", os.Getenv("POD_SUBNET"))
	}
	config, err := rest.InClusterConfig()
	if err != nil {
		log.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		log.Fatal(err)
	}
	run(ctx, client, os.Getenv("NODE_NAME"), podNetwork)
}

// Follows the nodes and brings this one in line whenever something changes, until the context ends.
func run(ctx context.Context, client kubernetes.Interface, self string, podNetwork netip.Prefix) {
	changed := make(chan struct{}, 1)
	wake := func(any) {
		select {
		case changed <- struct{}{}:
		default: // a look is due already
		}
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	nodes := factory.Core().V1().Nodes()
	if _, err := nodes.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    wake,
		UpdateFunc: func(_, new any) { wake(new) },
		DeleteFunc: wake,
	}); err != nil {
		log.Fatal(err)
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	tick := time.NewTicker(again)
	defer tick.Stop()
	for {
		view := look(nodes.Lister(), self)
		if err := settle(view, podNetwork); err != nil {
			log.Print(err) // the next look tries again
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-tick.C:
		}
	}
}

// Brings this node in line. The CNI configuration comes last: it is what makes the kubelet call the node ready.
func settle(view view, podNetwork netip.Prefix) error {
	if err := masquerade(podNetwork); err != nil {
		return err
	}
	mtu, err := setRoutes(view.others)
	if err != nil {
		return err
	}
	if !view.own.IsValid() {
		return nil // the controller manager has not given this node its part of the pod network yet
	}
	return writeConfig(view.own, mtu)
}

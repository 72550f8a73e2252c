// SPDX-License-Identifier: Apache-2.0

// What an agent in Go does with Weft by GoVPP, unmodified: tests/test_govpp.py builds this inside of a checkout of GoVPP and runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"go.fd.io/govpp"
	"go.fd.io/govpp/adapter/socketclient"
	"go.fd.io/govpp/adapter/statsclient"
	"go.fd.io/govpp/api"
	"go.fd.io/govpp/binapi/af_xdp"
	"go.fd.io/govpp/binapi/arp"
	"go.fd.io/govpp/binapi/bond"
	"go.fd.io/govpp/binapi/classify"
	"go.fd.io/govpp/binapi/feature"
	"go.fd.io/govpp/binapi/fib_types"
	"go.fd.io/govpp/binapi/graph"
	interfaces "go.fd.io/govpp/binapi/interface"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/ip"
	"go.fd.io/govpp/binapi/ip6_nd"
	"go.fd.io/govpp/binapi/ip_neighbor"
	"go.fd.io/govpp/binapi/ip_types"
	"go.fd.io/govpp/binapi/l2"
	"go.fd.io/govpp/binapi/memclnt"
	"go.fd.io/govpp/binapi/pg"
	"go.fd.io/govpp/binapi/tapv2"
	"go.fd.io/govpp/binapi/tracedump"
	"go.fd.io/govpp/binapi/vlib"
	"go.fd.io/govpp/binapi/vpe"
	"go.fd.io/govpp/core"
)

const patience = 10 * time.Second

// Families that Weft serves; clients refuse to begin if one message of a family is missing.
var families = map[string]func() []api.Message{
	"af_xdp": af_xdp.AllMessages, "arp": arp.AllMessages, "bond": bond.AllMessages, "classify": classify.AllMessages,
	"feature": feature.AllMessages, "graph": graph.AllMessages, "interface": interfaces.AllMessages, "ip": ip.AllMessages,
	"ip6_nd": ip6_nd.AllMessages, "ip_neighbor": ip_neighbor.AllMessages, "l2": l2.AllMessages, "memclnt": memclnt.AllMessages,
	"pg": pg.AllMessages, "tapv2": tapv2.AllMessages, "tracedump": tracedump.AllMessages, "vlib": vlib.AllMessages, "vpe": vpe.AllMessages,
}

func main() {
	socket := flag.String("sock", socketclient.DefaultSocketName, "the socket of the binary API")
	stats := flag.String("stats", statsclient.DefaultSocketName, "the socket of the stats segment")
	flag.Parse()
	conn, err := govpp.Connect(*socket)
	must(err)
	defer conn.Disconnect()
	compatible(conn)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	loop := loopback(ctx, conn)
	routes(ctx, conn, loop)
	refusals(ctx, conn)
	counters(*stats)
	_, err = interfaces.NewServiceClient(conn).DeleteLoopback(ctx, &interfaces.DeleteLoopback{SwIfIndex: loop})
	must(err)
	fmt.Println("all is well")
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func expect(holds bool, what string, args ...any) {
	if !holds {
		fmt.Fprintf(os.Stderr, what+"\n", args...)
		os.Exit(1)
	}
}

func compatible(conn *core.Connection) {
	channel, err := conn.NewAPIChannel()
	must(err)
	defer channel.Close()
	for family, messages := range families {
		err := channel.CheckCompatiblity(messages()...)
		expect(err == nil, "family %s: %v", family, err)
	}
}

// loopback makes an interface and hears of it.
func loopback(ctx context.Context, conn *core.Connection) interface_types.InterfaceIndex {
	client := interfaces.NewServiceClient(conn)
	watcher, err := conn.WatchEvent(ctx, (*interfaces.SwInterfaceEvent)(nil))
	must(err)
	defer watcher.Close()
	_, err = client.WantInterfaceEvents(ctx, &interfaces.WantInterfaceEvents{PID: uint32(os.Getpid()), EnableDisable: 1})
	must(err)
	made, err := client.CreateLoopback(ctx, &interfaces.CreateLoopback{})
	must(err)
	_, err = client.SwInterfaceSetFlags(ctx, &interfaces.SwInterfaceSetFlags{
		SwIfIndex: made.SwIfIndex, Flags: interface_types.IF_STATUS_API_FLAG_ADMIN_UP,
	})
	must(err)
	prefix, err := ip_types.ParseAddressWithPrefix("192.0.2.1/24")
	must(err)
	_, err = client.SwInterfaceAddDelAddress(ctx, &interfaces.SwInterfaceAddDelAddress{
		SwIfIndex: made.SwIfIndex, IsAdd: true, Prefix: prefix,
	})
	must(err)
	for up := false; !up; {
		select {
		case event := <-watcher.Events():
			news, known := event.(*interfaces.SwInterfaceEvent)
			expect(known, "an event of another kind: %v", event)
			up = news.SwIfIndex == made.SwIfIndex && news.Flags&interface_types.IF_STATUS_API_FLAG_ADMIN_UP != 0
		case <-ctx.Done():
			expect(false, "no event")
		}
	}
	stream, err := client.SwInterfaceDump(ctx, &interfaces.SwInterfaceDump{SwIfIndex: ^interface_types.InterfaceIndex(0)})
	must(err)
	var names []string
	for {
		details, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		must(err)
		names = append(names, details.InterfaceName)
	}
	expect(len(names) == 2 && names[0] == "local0" && names[1] == "loop0", "interfaces: %v", names)
	return made.SwIfIndex
}

func routes(ctx context.Context, conn *core.Connection, loop interface_types.InterfaceIndex) {
	client := ip.NewServiceClient(conn)
	prefix, err := ip_types.ParsePrefix("198.51.100.0/24")
	must(err)
	hop, err := ip_types.ParseAddress("192.0.2.2")
	must(err)
	path := fib_types.FibPath{SwIfIndex: uint32(loop), Weight: 1, Nh: fib_types.FibPathNh{Address: hop.Un}}
	route := ip.IPRoute{Prefix: prefix, NPaths: 1, Paths: []fib_types.FibPath{path}}
	for again := 0; again < 2; again++ {
		_, err = client.IPRouteAddDel(ctx, &ip.IPRouteAddDel{IsAdd: true, Route: route})
		must(err)
	}
	stream, err := client.IPRouteDump(ctx, &ip.IPRouteDump{Table: ip.IPTable{TableID: 0}})
	must(err)
	found := false
	for {
		details, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		must(err)
		found = found || details.Route.Prefix == prefix
	}
	expect(found, "no route to %v in the dump", prefix)
	_, err = client.IPRouteAddDel(ctx, &ip.IPRouteAddDel{Route: ip.IPRoute{Prefix: prefix}})
	must(err)
}

// refusals are errors that say which.
func refusals(ctx context.Context, conn *core.Connection) {
	version, err := vpe.NewServiceClient(conn).ShowVersion(ctx, &vpe.ShowVersion{})
	must(err)
	expect(version.Program == "vpe", "program %q", version.Program)
	answer, err := vlib.NewServiceClient(conn).CliInband(ctx, &vlib.CliInband{Cmd: "show interface"})
	must(err)
	expect(len(answer.Reply) > 0, "no answer to a command")
	_, err = interfaces.NewServiceClient(conn).SwInterfaceSetFlags(ctx, &interfaces.SwInterfaceSetFlags{SwIfIndex: 4242})
	expect(errors.Is(err, api.INVALID_SW_IF_INDEX), "an interface that is not there: %v", err)
}

func counters(socket string) {
	conn, err := core.ConnectStats(statsclient.NewStatsClient(socket))
	must(err)
	defer conn.Disconnect()
	system := new(api.SystemStats)
	must(conn.GetSystemStats(system))
	ports := new(api.InterfaceStats)
	must(conn.GetInterfaceStats(ports))
	expect(len(ports.Interfaces) >= 2, "interfaces in the segment: %v", ports.Interfaces)
	nodes := new(api.NodeStats)
	must(conn.GetNodeStats(nodes))
	expect(len(nodes.Nodes) > 10, "nodes in the segment: %d", len(nodes.Nodes))
	must(conn.GetErrorStats(new(api.ErrorStats)))
	must(conn.GetBufferStats(new(api.BufferStats)))
}

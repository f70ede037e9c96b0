// Command stub is a server that answers from memory and checks nothing, as a yardstick: what it reaches is the ceiling of SDK
// and gRPC on a machine.
//
//	go run ./stub 127.0.0.1:7001
package main

import (
	"flag"
	"log"
	"net"

	"github.com/perdure/perdure/bench/internal/stub"
)

func main() {
	eager := flag.Bool("eager", true, "hand activities to the worker that schedules them, when it asks for that")
	plain := flag.Bool("plain", false, "refuse compressed requests, which the SDK then sends uncompressed")
	flag.Parse()
	if flag.NArg() != 1 {
		log.Fatal("usage: stub [-eager=false] [-plain] host:port")
	}
	l, err := net.Listen("tcp", flag.Arg(0))
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(stub.New(*eager, *plain).GRPC().Serve(l))
}

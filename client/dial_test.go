package client_test

import (
	"context"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/embedded"
)

func TestDialOptionsReachTheConnections(t *testing.T) {
	refused := func(err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), "DialOptions") {
			t.Errorf("got %v", err)
		}
	}
	dialled := make(chan string, 10)
	options := []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
		dialled <- address
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	})}
	_, err := embedded.Open(t.Context(), embedded.Options{Client: client.Options{DialOptions: options}})
	refused(err)
	db, err := embedded.Open(t.Context(), embedded.Options{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	conn, err := grpc.NewClient(db.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = client.Dial(t.Context(), client.Options{Conn: conn, DialOptions: options})
	refused(err)
	c, err := client.Dial(t.Context(), client.Options{Address: db.Addr(), DialOptions: options})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 2 { // the calls', and the session's
		if got := <-dialled; got != db.Addr() {
			t.Errorf("dialled %s", got)
		}
	}
}

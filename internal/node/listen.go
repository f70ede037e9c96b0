package node

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// listeners are the node's open ports. Nil: not served.
type listeners struct {
	grpc, http, ui, metrics, profile net.Listener
}

// listen opens all ports, or none.
func listen(c *Config) (_ *listeners, err error) {
	l := new(listeners)
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	for _, want := range []struct {
		what, address string
		into          *net.Listener
	}{
		{"gRPC", c.GRPC, &l.grpc}, {"the HTTP API", c.HTTP, &l.http}, {"the web UI", c.UI, &l.ui},
		{"metrics", c.Metrics, &l.metrics}, {"profiles", c.Profile, &l.profile},
	} {
		if want.address == "" {
			continue
		}
		*want.into, err = net.Listen("tcp", want.address)
		if errors.Is(err, syscall.EADDRINUSE) && c.HTTPAnyPort && want.into == &l.http {
			host, _, _ := net.SplitHostPort(want.address) // it was good enough to listen on
			*want.into, err = net.Listen("tcp", net.JoinHostPort(host, "0"))
		}
		if err != nil {
			return nil, listenError(want.what, want.address, err)
		}
	}
	return l, nil
}

func listenError(what, address string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("listen for %s: %s is in use by another process: choose another port or stop that one", what, address)
	}
	return fmt.Errorf("listen for %s: %w", what, err)
}

func (l *listeners) close() {
	for _, one := range []net.Listener{l.grpc, l.http, l.ui, l.metrics, l.profile} {
		if one != nil {
			_ = one.Close() // nothing has been sent yet
		}
	}
}

func addr(l net.Listener) string {
	if l == nil {
		return ""
	}
	return l.Addr().String()
}

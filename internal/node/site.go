package node

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/perdure/perdure/internal/metrics"
	"github.com/perdure/perdure/internal/web"
)

const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
)

// site is one HTTP server on a port of its own.
type site struct {
	what     string
	listener net.Listener
	server   *http.Server
	log      *slog.Logger
}

// serveHTTP makes the sites.
func (n *Node) serveHTTP(m *metrics.Metrics) error {
	n.site("profiles", n.listeners.profile, profiles())
	if l := n.listeners; l.http == nil && l.ui == nil && l.metrics == nil {
		return nil // as in a process that embeds the server: to make what nobody asks for takes a millisecond
	}
	api, err := web.NewAPI(n.conn)
	if err != nil {
		return err
	}
	// Batches and pause are off for as long as their RPCs answer Unimplemented; a test compares.
	ui, err := web.NewUI(n.conn, web.UIOptions{DefaultNamespace: n.defaultNamespace(), Reset: true, Batch: true})
	if err != nil {
		return err
	}
	if n.listeners.metrics == nil {
		api, ui = withMetrics(api, m), withMetrics(ui, m)
	}
	n.site("the HTTP API", n.listeners.http, api)
	n.site("the web UI", n.listeners.ui, ui)
	n.site("metrics", n.listeners.metrics, withMetrics(http.NotFoundHandler(), m))
	return nil
}

// defaultNamespace is what the web UI opens with.
func (n *Node) defaultNamespace() string {
	if !n.isNamespace("default") && len(n.config.Namespaces) > 0 {
		return n.config.Namespaces[0]
	}
	return "default"
}

// profiles are the runtime's. They have no names of users or payloads in them, and a port of their own all the same: a
// profile costs what it measures.
func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

func withMetrics(h http.Handler, m *metrics.Metrics) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m.Handler())
	mux.Handle("/", h)
	return mux
}

func (n *Node) site(what string, l net.Listener, h http.Handler) {
	if l == nil {
		return
	}
	n.sites = append(n.sites, &site{
		what: what, listener: l, log: n.config.Log,
		server: &http.Server{
			Handler: h, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout,
			ErrorLog: slog.NewLogLogger(n.config.Log.Handler(), slog.LevelDebug), // what clients do wrong
		},
	})
}

func (s *site) serve() error {
	if err := s.server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// stop waits for requests that are under way, and cuts them off when grace is over.
func (s *site) stop(grace context.Context) {
	if s.server.Shutdown(grace) != nil {
		s.log.Warn("requests were cut off, as they took longer than the grace of a stop", "site", s.what)
		_ = s.server.Close()
	}
}

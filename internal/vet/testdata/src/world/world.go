// Package world touches what is outside of workflows.
package world

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"time"

	"github.com/perdure/perdure/client"
	"github.com/perdure/perdure/workflow"
)

type Tourist struct {
	db *sql.DB
	c  *client.Client
}

func Fetch(context.Context, string) (string, error) { return "", nil }

func (t *Tourist) Run(ctx workflow.Context, w http.ResponseWriter) error {
	_ = os.Getenv("HOME")                                // want `^io: os.Getenv touches what is outside of the workflow; do it in an activity$`
	_, _ = os.ReadFile("x")                              // want `^io: os.ReadFile`
	_ = os.Args                                          // want `^io: os.Args is that of the worker`
	fmt.Fprintln(os.Stderr, "x")                         // want `^io: os.Stderr is outside`
	_, _ = net.Dial("tcp", "x")                          // want `^io: net.Dial`
	_, _ = http.Get("x")                                 // want `^io: http.Get`
	_, _ = http.DefaultClient.Get("x")                   // want `^io: http.DefaultClient` `^io: \(\*http.Client\).Get`
	_ = exec.Command("x").Run()                          // want `^io: exec.Command` `^io: \(\*exec.Cmd\).Run`
	_, _ = t.db.Exec("x")                                // want `^io: \(\*sql.DB\).Exec`
	os.Exit(1)                                           // want `^io: os.Exit`
	fmt.Println("x")                                     // want `^log: fmt.Println prints again on each replay; use workflow.Logger\(ctx\)$`
	println("x")                                         // want `^log: println`
	log.Printf("x")                                      // want `^log: log.Printf logs again`
	slog.Info("x")                                       // want `^log: slog.Info`
	slog.Default().Info("x")                             // want `^log: slog.Default`
	_ = runtime.NumGoroutine()                           // want `^runtime: runtime.NumGoroutine is not the same in another worker$`
	runtime.GC()                                         // want `^runtime`
	_, _ = Fetch(context.Background(), "x")              // want `^context: context.Background is for code outside of workflows`
	bad, cancel := context.WithTimeout(nil, time.Second) // want `^context: context.WithTimeout`
	defer cancel()
	_, _ = Fetch(bad, "x")                                  // want `^context: Fetch takes a context.Context: it is an activity`
	_, _ = t.c.StartByName(bad, "x", client.StartOptions{}) // want `^context: `
	return nil
}

// Good stays inside.
func (t *Tourist) Good(ctx workflow.Context, host, port string) (string, error) {
	workflow.Logger(ctx).Info(fmt.Sprint("x", 1), slog.String("a", "b"))
	_ = net.JoinHostPort(host, port)
	_ = http.StatusText(404)
	_ = os.IsNotExist(nil)
	_ = sql.NullString{}
	return workflow.Activity(ctx, Fetch, "x", workflow.ActivityOptions{}).Get()
}

package web

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/temporalio/ui-server/v2/ui"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// uiVersion is the version of the module that the assets are from.
const uiVersion = "2.55.0"

// UIOptions configure the web UI.
type UIOptions struct {
	// DefaultNamespace is what the UI opens with. Default "default".
	DefaultNamespace string
	// Reset, Batch and Pause tell that these are served; otherwise the UI does not offer them. ActivityCommands are the
	// pause, reset and change of options of a workflow's pending activity.
	Reset, Batch, Pause, ActivityCommands bool
}

// NewUI makes the handler of Temporal's open-source web UI: its assets, the calls it makes under /api/v1, and /healthz.
// The UI is told to leave the network alone: no news, no check for releases, no codec server.
//
// Writes that a browser sends on behalf of a page from elsewhere are refused.
func NewUI(conn grpc.ClientConnInterface, o UIOptions) (http.Handler, error) {
	assets, err := ui.Assets()
	if err == nil {
		assets, err = fs.Sub(assets, "local")
	}
	var index []byte
	if err == nil {
		index, err = fs.ReadFile(assets, "index.html")
	}
	if err != nil {
		return nil, fmt.Errorf("web: read the UI's assets: %w", err)
	}
	if o.DefaultNamespace == "" {
		o.DefaultNamespace = "default"
	}
	// History for people: the service leaves out what is only of use to SDKs.
	announce := metadata.Pairs("client-name", "temporal-ui", "client-version", uiVersion)
	gateway, err := newGateway(conn, announce)
	if err != nil {
		return nil, err
	}
	history := &historyFile{workflowservice.NewWorkflowServiceClient(conn), newMarshaler(false, "")}

	mux := http.NewServeMux()
	mux.Handle("/api/v1/", longhand(gateway))
	mux.Handle("GET /api/v1/settings", staticJSON(settings(o)))
	mux.Handle("GET /api/v1/releases", staticJSON(map[string]any{"Releases": map[string]string{}}))
	mux.Handle("GET /api/v1/ui-extensions", staticJSON(map[string]any{"Enabled": false, "IframeExtensions": []string{}}))
	mux.Handle("GET /api/v1/namespaces/{namespace}/workflows/{workflow}/run/{run}/history.json", history)
	mux.Handle("GET /healthz", staticJSON(map[string]string{"status": "OK"}))
	mux.HandleFunc("GET /render", renderText)
	mux.Handle("/", &application{assets: http.FileServerFS(assets), files: assets, index: index})
	return protect(mux), nil
}

// settings is what the UI asks for before anything else. Names and letter case are the UI's.
func settings(o UIOptions) any {
	return map[string]any{
		"Auth":             map[string]any{"Enabled": false, "Options": nil, "RedirectToProvider": false},
		"DefaultNamespace": o.DefaultNamespace,
		"Codec": map[string]any{
			"Endpoint": "", "PassAccessToken": false, "IncludeCredentials": false,
			"DefaultErrorMessage": "", "DefaultErrorLink": "",
		},
		"CustomUI":                      map[string]any{"Enabled": false},
		"Version":                       uiVersion,
		"DisableNewsFetch":              true,
		"NotifyOnNewVersion":            false,
		"Distribution":                  "",
		"DistributionVersion":           "",
		"FeedbackURL":                   "",
		"ShowTemporalSystemNamespace":   false,
		"NavCollapsedByDefault":         false,
		"DisableWriteActions":           false,
		"WorkflowTerminateDisabled":     false,
		"WorkflowCancelDisabled":        false,
		"WorkflowSignalDisabled":        false,
		"WorkflowUpdateDisabled":        false,
		"WorkflowResetDisabled":         !o.Reset,
		"WorkflowPauseDisabled":         !o.Pause,
		"BatchActionsDisabled":          !o.Batch,
		"StartWorkflowDisabled":         false,
		"HideWorkflowQueryErrors":       false,
		"RefreshWorkflowCountsDisabled": false,
		"ActivityCommandsDisabled":      !o.ActivityCommands,
	}
}

func staticJSON(v any) http.Handler {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // v is made of strings and booleans
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", mediaJSON)
		w.Header().Set("Cache-Control", "no-cache")
		_, _ = w.Write(body)
	})
}

// longhand makes payloads stay what they are: the UI decodes them itself.
func longhand(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = r.Clone(r.Context())
		r.Header.Set("Accept", mediaLonghand)
		r.Header.Set("Content-Type", mediaLonghand)
		h.ServeHTTP(w, r)
	})
}

// application serves the UI's files, and its one page under every other path: which view that means is its own affair.
type application struct {
	assets http.Handler
	files  fs.FS
	index  []byte
}

func (a *application) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "Only GET and HEAD.", http.StatusMethodNotAllowed)
		return
	}
	name := strings.TrimPrefix(path.Clean(r.URL.Path), "/")
	if info, err := fs.Stat(a.files, name); err == nil && !info.IsDir() && name != "index.html" {
		if strings.HasPrefix(name, "_app/immutable/") { // these have a hash of their content in their names
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		}
		a.assets.ServeHTTP(w, r)
		return
	}
	if strings.HasPrefix(name, "_app/") {
		http.NotFound(w, r) // of another version: the page would not do as a script
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	h.Set("Content-Security-Policy", "frame-src 'self'; frame-ancestors 'self';")
	h.Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(a.index)
}

// historyFile serves a run's whole history as one array, for download.
type historyFile struct {
	service workflowservice.WorkflowServiceClient
	json    *marshaler
}

func (f *historyFile) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	workflow, err := url.PathUnescape(r.PathValue("workflow")) // the UI escapes it twice
	if err != nil {
		http.Error(w, "Invalid workflow ID.", http.StatusBadRequest)
		return
	}
	request := &workflowservice.GetWorkflowExecutionHistoryRequest{
		Namespace: r.PathValue("namespace"),
		Execution: &commonpb.WorkflowExecution{WorkflowId: workflow, RunId: r.PathValue("run")},
	}
	before := "["
	for {
		page, err := f.service.GetWorkflowExecutionHistory(r.Context(), request)
		if err != nil {
			f.fail(w, r, err, before == "[")
			return
		}
		w.Header().Set("Content-Type", mediaJSON)
		for _, event := range page.GetHistory().GetEvents() {
			b, err := f.json.Marshal(event)
			if err != nil {
				f.fail(w, r, err, before == "[")
				return
			}
			_, _ = w.Write(append([]byte(before), b...))
			before = ",\n"
		}
		if request.NextPageToken = page.GetNextPageToken(); len(request.NextPageToken) == 0 {
			break
		}
	}
	if before == "[" {
		_, _ = w.Write([]byte(before))
	}
	_, _ = w.Write([]byte("]\n"))
}

// fail reports err, or, when it is too late for that, breaks the connection: half a history must not look like one.
func (f *historyFile) fail(w http.ResponseWriter, r *http.Request, err error, first bool) {
	if !first {
		panic(http.ErrAbortHandler)
	}
	writeError(r.Context(), nil, f.json, w, r, err)
}

package web

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// service answers calls as a test wants, and remembers what came.
type service struct {
	grpc.ClientConnInterface
	answer  func(request proto.Message) (proto.Message, error)
	method  string
	request proto.Message
	headers metadata.MD
	bounded bool // the last call had a deadline
}

func (s *service) Invoke(ctx context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	s.method, s.request = method, args.(proto.Message)
	s.headers, _ = metadata.FromOutgoingContext(ctx)
	_, s.bounded = ctx.Deadline()
	resp, err := s.answer(s.request)
	if err == nil {
		proto.Merge(reply.(proto.Message), resp)
	}
	return err
}

func (s *service) ui(t *testing.T) http.Handler {
	t.Helper()
	h, err := NewUI(s, UIOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (s *service) api(t *testing.T) http.Handler {
	t.Helper()
	h, err := NewAPI(s)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func do(h http.Handler, method, target, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func empty(request proto.Message) (proto.Message, error) {
	if _, ok := request.(*workflowservice.SignalWorkflowExecutionRequest); ok {
		return &workflowservice.SignalWorkflowExecutionResponse{}, nil
	}
	return &workflowservice.GetSystemInfoResponse{}, nil
}

func TestHeadersThatClientsSendOverGRPCAreForwarded(t *testing.T) {
	s := &service{answer: empty}
	do(s.api(t), "GET", "/api/v1/system-info", "", "Client-Name", "mine", "Authorization", "Bearer x", "Cookie", "secret")
	for name, want := range map[string]string{"client-name": "mine", "authorization": "Bearer x"} {
		if got := s.headers.Get(name); len(got) == 0 || got[0] != want {
			t.Errorf("%s: %v in %v", name, got, s.headers)
		}
	}
	for name, values := range s.headers {
		if strings.Contains(strings.Join(values, ""), "secret") {
			t.Errorf("a cookie was forwarded as %s", name)
		}
	}
	if !s.bounded {
		t.Error("a call without end")
	}
	do(s.ui(t), "GET", "/api/v1/system-info", "")
	if got := s.headers.Get("client-name"); len(got) != 1 || got[0] != "temporal-ui" {
		t.Errorf("the UI says it is %v", got)
	}
}

func TestShorthandIsReadAndKeptFromTheUI(t *testing.T) {
	const path = "/api/v1/namespaces/default/workflows/w/signal/s"
	s := &service{answer: empty}
	want := `{"metadata":{"encoding":"json/plain"},"data":"1"}`
	w := do(s.api(t), "POST", path, `{"input":[1]}`, "Content-Type", "application/json")
	got, _ := s.request.(*workflowservice.SignalWorkflowExecutionRequest)
	if p := got.GetInput().GetPayloads(); w.Code != http.StatusOK || len(p) != 1 || string(p[0].Data) != "1" ||
		string(p[0].Metadata["encoding"]) != "json/plain" {
		t.Errorf("got %d %v, want %s", w.Code, got, want)
	}
	if got.GetSignalName() != "s" || got.GetWorkflowExecution().GetWorkflowId() != "w" {
		t.Errorf("the path was not read: %v", got)
	}
	if w := do(s.ui(t), "POST", path, `{"input":[1]}`); w.Code != http.StatusBadRequest {
		t.Errorf("the UI's payloads are shorthand: %d", w.Code)
	}
	if w := do(s.api(t), "POST", path, `{"input":`); w.Code != http.StatusBadRequest {
		t.Errorf("half a body: %d", w.Code)
	}
	if w := do(s.api(t), "POST", path, `{"input":["`+strings.Repeat("x", maxBody)+`"]}`); w.Code != http.StatusBadRequest {
		t.Errorf("too large a body: %d", w.Code)
	}
}

func TestErrorsKeepCodeTextAndDetails(t *testing.T) {
	s := &service{answer: func(proto.Message) (proto.Message, error) {
		st, err := status.New(codes.NotFound, "no such thing").WithDetails(&commonpb.WorkflowType{Name: "detail"})
		if err != nil {
			t.Fatal(err)
		}
		return nil, st.Err()
	}}
	w := do(s.api(t), "GET", "/api/v1/system-info", "")
	for _, want := range []string{`"code":5`, `"no such thing"`, `temporal.api.common.v1.WorkflowType`, `"detail"`} {
		if !strings.Contains(strings.ReplaceAll(w.Body.String(), ": ", ":"), want) {
			t.Errorf("%s lacks %s", w.Body, want)
		}
	}
	if w.Code != http.StatusNotFound || w.Header().Get("Content-Type") != mediaJSON {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

func TestWritesFromOtherSitesAreRefusedOnBothPorts(t *testing.T) {
	s := &service{answer: empty}
	for _, h := range []http.Handler{s.api(t), s.ui(t)} {
		for _, headers := range [][]string{
			{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "http://elsewhere.example"},
		} {
			s.method = ""
			w := do(h, "POST", "/api/v1/namespaces/default/workflows/w/signal/s", "{}", headers...)
			if w.Code != http.StatusForbidden || s.method != "" {
				t.Errorf("%v: %d, called %q", headers, w.Code, s.method)
			}
		}
	}
}

func TestHistoryFileIsWholeOrBroken(t *testing.T) {
	gone := status.Error(codes.Unavailable, "gone")
	half := &service{answer: func(r proto.Message) (proto.Message, error) {
		if len(r.(*workflowservice.GetWorkflowExecutionHistoryRequest).NextPageToken) > 0 {
			return nil, gone
		}
		return &workflowservice.GetWorkflowExecutionHistoryResponse{
			History: &historypb.History{Events: []*historypb.HistoryEvent{{EventId: 1}}}, NextPageToken: []byte("more"),
		}, nil
	}}
	server := httptest.NewServer(half.ui(t))
	defer server.Close()
	resp, err := http.Get(server.URL + "/api/v1/namespaces/default/workflows/w/run/r/history.json")
	if err == nil {
		defer resp.Body.Close()
		_, err = io.ReadAll(resp.Body)
	}
	if err == nil {
		t.Error("half a history looks like a whole one")
	}
	none := &service{answer: func(proto.Message) (proto.Message, error) { return nil, gone }}
	if w := do(none.ui(t), "GET", "/api/v1/namespaces/default/workflows/w/run/r/history.json", ""); w.Code != http.StatusServiceUnavailable {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

func TestMarkdownOfWorkflowsIsShownAndNeverRun(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{"a\nb\n\nc", "<p>a\nb\n</p><p>c\n</p>"},
		{"# A **b**", "<h1>A <strong>b</strong></h1>"},
		{"- one\n- *two*\ntail", "<ul><li>one</li><li><em>two</em></li></ul><p>tail\n</p>"},
		{"1. one", "<ol><li>one</li></ol>"},
		{"> said", "<blockquote>said\n</blockquote>"},
		{"`a*b*c`", "<p><code>a*b*c</code>\n</p>"},
		{"```go\n<x>\n```", "<pre><code>&lt;x&gt;\n</code></pre>"},
		{"[t](https://a.example/?b=*c*&d)", `<p><a href="https://a.example/?b=*c*&amp;d" rel="noopener noreferrer">t</a>` + "\n</p>"},
		{"[t](javascript:alert)", "<p>[t](javascript:alert)\n</p>"},
		{`[t](https://a" onclick="x)`, "<p>[t](https://a&#34; onclick=&#34;x)\n</p>"},
		{"<script>x</script>", "<p>&lt;script&gt;x&lt;/script&gt;\n</p>"},
	} {
		if got := renderMarkdown(c.text); got != c.want {
			t.Errorf("%q is\n%q, want\n%q", c.text, got, c.want)
		}
	}
	w := do((&service{answer: empty}).ui(t), "GET", "/render?content=%3Cimg%20src%3Dx%3E&theme=dark&compact=true&overrideTheme=primary", "")
	if policy := w.Header().Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "script-src") {
		t.Errorf("policy %q", policy)
	}
	if !strings.Contains(w.Body.String(), `<body class="compact dark primary">`) || strings.Contains(w.Body.String(), "<img") {
		t.Error(w.Body)
	}
}

// What is escaped can only gain the tags that the renderer knows.
func FuzzMarkdownAddsNoTagsButItsOwn(f *testing.F) {
	for _, s := range []string{"# a\n- b\n\n> c `d` **e** *f* [g](https://h)", "```\n<a>```", "*<b>*"} {
		f.Add(s)
	}
	known := []string{"h1>", "h2>", "h3>", "h4>", "h5>", "h6>", "ul>", "ol>", "li>", "p>", "blockquote>", "pre>", "code>",
		"strong>", "em>", "a>", `a href="http`, `a href="mailto:`}
	f.Fuzz(func(t *testing.T, text string) {
		out := renderMarkdown(text)
		for i, part := range strings.Split(out, "<") {
			ok := i == 0
			for _, tag := range known {
				ok = ok || strings.HasPrefix(strings.TrimPrefix(part, "/"), tag)
			}
			if !ok {
				t.Fatalf("%q has a tag %q", out, part)
			}
		}
	})
}

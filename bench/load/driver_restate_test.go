package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// fakeRestate answers chains from their inputs, without a look at the workers: it has nothing but the two APIs that the driver
// calls. Whatever it is told of, it asks what there is, as the server does.
type fakeRestate struct {
	ingress, admin *httptest.Server
	manifest       atomic.Value // string: what the worker said of itself
	known          atomic.Int64 // deployments that were made known and not forgotten
	wrong          int64        // is added to each sum
	refuse         bool         // no deployment is taken
	fail           bool         // each workflow fails
}

func (f *fakeRestate) serve(t *testing.T) *fakeRestate {
	t.Helper()
	ingress, admin := http.NewServeMux(), http.NewServeMux()
	ingress.HandleFunc("POST /Chain/{id}/run", f.run)
	admin.HandleFunc("POST /deployments", f.deploy)
	admin.HandleFunc("DELETE /deployments/dp_1", func(w http.ResponseWriter, _ *http.Request) {
		f.known.Add(-1)
		w.WriteHeader(http.StatusAccepted)
	})
	f.ingress, f.admin = httptest.NewServer(ingress), httptest.NewServer(admin)
	t.Cleanup(f.ingress.Close)
	t.Cleanup(f.admin.Close)
	return f
}

func (f *fakeRestate) run(w http.ResponseWriter, r *http.Request) {
	var in chainInput
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if f.fail {
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprint(w, `{"code": 500, "message": "no room"}`)
		return
	}
	answer := in.want()
	answer.Sum += f.wrong
	_ = json.NewEncoder(w).Encode(answer)
}

func (f *fakeRestate) deploy(w http.ResponseWriter, r *http.Request) {
	var in struct{ URI string }
	err := json.NewDecoder(r.Body).Decode(&in)
	if err == nil && f.refuse {
		err = fmt.Errorf("%s: not that one", in.URI)
	}
	if err == nil {
		err = f.discover(in.URI)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	f.known.Add(1)
	w.WriteHeader(http.StatusCreated)
	fmt.Fprint(w, `{"id": "dp_1"}`)
}

// discover asks the worker what it has, with HTTP/2 from the first byte.
func (f *fakeRestate) discover(uri string) error {
	request, err := http.NewRequest(http.MethodGet, uri+"/discover", nil)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", "application/vnd.restate.endpointmanifest.v3+json")
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	f.manifest.Store(string(text))
	return err
}

func (f *fakeRestate) target() string {
	return fmt.Sprintf("restate=%s,sdk=restate,admin=%s", f.ingress.Listener.Addr(), f.admin.Listener.Addr())
}

// measureRestate is one tiny run against a fake.
func measureRestate(t *testing.T, f *fakeRestate, scenarios string) ([]measurement, string, error) {
	t.Helper()
	s, file := tiny(t, "-scenarios", scenarios, "-target", f.target())
	var out strings.Builder
	err := run(t.Context(), s, &out)
	if known := f.known.Load(); known != 0 {
		t.Errorf("the server was left with %d workers that are gone", known)
	}
	return lines(t, file), out.String(), err
}

func TestRestateIsGivenAWorkflowAndCallsOfIt(t *testing.T) {
	f := new(fakeRestate).serve(t)
	measured, _, err := measureRestate(t, f, "empty")
	if err != nil {
		t.Fatal(err)
	}
	if m := measured[0]; !m.OK || m.Operations < 1 || m.SDK != restate {
		t.Errorf("%+v", m)
	}
	var manifest struct {
		ProtocolMode string
		Services     []struct {
			Name, Ty string
			Handlers []struct{ Name, Ty string }
		}
	}
	text := f.manifest.Load().(string)
	if err := json.Unmarshal([]byte(text), &manifest); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	got := fmt.Sprintf("%+v", manifest)
	if want := "{ProtocolMode:BIDI_STREAM Services:[{Name:Chain Ty:WORKFLOW Handlers:[{Name:run Ty:WORKFLOW}]}]}"; got != want {
		t.Errorf("the worker has %s, want %s", got, want)
	}
}

func TestWhatRestateIsNotMeasuredWithIsADash(t *testing.T) {
	f := new(fakeRestate).serve(t)
	var others []string
	for name := range scenarios {
		if name != "empty" && name != "activity" && name != "chain10" {
			others = append(others, name)
		}
	}
	measured, out, err := measureRestate(t, f, strings.Join(others, ","))
	if err != nil {
		t.Fatal(err)
	}
	if len(measured) != len(others)+1 { // open has two sizes
		t.Errorf("%d lines", len(measured))
	}
	for _, m := range measured {
		if m.OK || !m.Unserved {
			t.Errorf("%+v", m)
		}
		hasLine(t, out, "| "+m.Row+" | – |")
	}
}

func TestRestateIsCheckedAsOthersAre(t *testing.T) {
	for name, c := range map[string]struct {
		fake           *fakeRestate
		scenario, want string
	}{
		"wrong results":        {&fakeRestate{wrong: 1}, "empty", "result of load-"},
		"steps that never ran": {new(fakeRestate), "activity", "activities that ran: 0, want "},
		"failures":             {&fakeRestate{fail: true}, "empty", "no room"},
		"a worker it refuses":  {&fakeRestate{refuse: true}, "empty", "not that one"},
	} {
		t.Run(name, func(t *testing.T) {
			measured, _, err := measureRestate(t, c.fake.serve(t), c.scenario)
			if err == nil {
				t.Error("no error")
			}
			if m := measured[0]; m.OK || m.Unserved || !strings.Contains(m.Error, c.want) {
				t.Errorf("%+v", m)
			}
		})
	}
}

// What cannot be reached is a failure, not a dash.
func TestRestateThatIsGoneFails(t *testing.T) {
	f := new(fakeRestate).serve(t)
	s, _ := tiny(t, "-target", f.target())
	d := newRestate(s, s.targets[0], newWatch("gone"))
	if err := d.startWorkers(); err != nil {
		t.Fatal(err)
	}
	defer d.stopWorkers()
	f.ingress.Close()
	if _, err := d.chain(t.Context(), "one", chainInput{}); err == nil || unserved(err) {
		t.Errorf("%v", err)
	}
	f.admin.Close()
	if err := d.close(); err == nil {
		t.Error("a server that is gone was told that the worker is, too")
	}
}

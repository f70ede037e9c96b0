package clientconfig_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdure/perdure/clientconfig"
)

const everything = `
[profile.foo]
address = "file:1"
namespace = "file-namespace"
api_key = "file-key"
authority = "file-authority"
codec = { endpoint = "file-endpoint", auth = "file-auth" }
grpc_meta = { Some-Header1 = "1", some_header2 = "2", some-header3 = "3" }

[profile.foo.tls]
disabled = true
client_cert_path = "file-cert-path"
client_cert_data = "file-cert"
client_key_path = "file-key-path"
client_key_data = "file-key-data"
server_ca_cert_path = "file-ca-path"
server_ca_cert_data = "file-ca"
server_name = "file-name"
disable_host_verification = true
`

func fileProfile() *clientconfig.Profile {
	return &clientconfig.Profile{
		Address: "file:1", Namespace: "file-namespace", APIKey: "file-key", Authority: "file-authority",
		Codec:    &clientconfig.Codec{Endpoint: "file-endpoint", Auth: "file-auth"},
		GRPCMeta: map[string]string{"some-header1": "1", "some-header2": "2", "some-header3": "3"},
		TLS: &clientconfig.TLS{
			Disabled:       true,
			ClientCertPath: "file-cert-path", ClientCertData: []byte("file-cert"),
			ClientKeyPath: "file-key-path", ClientKeyData: []byte("file-key-data"),
			ServerCACertPath: "file-ca-path", ServerCACertData: []byte("file-ca"),
			ServerName: "file-name", DisableHostVerification: true,
		},
	}
}

// with gives o an environment of its own.
func with(o clientconfig.Options, env map[string]string) clientconfig.Options {
	o.LookupEnv = func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	o.Environ = func() []string {
		var all []string
		for k, v := range env {
			all = append(all, k+"="+v)
		}
		return all
	}
	return o
}

func load(t *testing.T, o clientconfig.Options, env map[string]string) *clientconfig.Profile {
	t.Helper()
	p, err := clientconfig.Load(with(o, env))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func same(t *testing.T, want, got *clientconfig.Profile) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("profile (-want +got):\n%s", diff)
	}
}

func TestEveryKeyOfTheFileIsRead(t *testing.T) {
	same(t, fileProfile(), load(t, clientconfig.Options{FileData: []byte(everything), Profile: "foo", Strict: true}, nil))
}

func TestEveryVariableWinsOverTheFile(t *testing.T) {
	got := load(t, clientconfig.Options{FileData: []byte(everything)}, map[string]string{
		"TEMPORAL_PROFILE":                       "foo",
		"TEMPORAL_ADDRESS":                       "env:1",
		"TEMPORAL_NAMESPACE":                     "env-namespace",
		"TEMPORAL_API_KEY":                       "env-key",
		"TEMPORAL_CLIENT_AUTHORITY":              "env-authority",
		"TEMPORAL_TLS":                           "TRUE",
		"TEMPORAL_TLS_CLIENT_CERT_PATH":          "env-cert-path",
		"TEMPORAL_TLS_CLIENT_CERT_DATA":          "env-cert",
		"TEMPORAL_TLS_CLIENT_KEY_PATH":           "env-key-path",
		"TEMPORAL_TLS_CLIENT_KEY_DATA":           "env-key-data",
		"TEMPORAL_TLS_SERVER_CA_CERT_PATH":       "env-ca-path",
		"TEMPORAL_TLS_SERVER_CA_CERT_DATA":       "env-ca",
		"TEMPORAL_TLS_SERVER_NAME":               "env-name",
		"TEMPORAL_TLS_DISABLE_HOST_VERIFICATION": "0",
		"TEMPORAL_CODEC_ENDPOINT":                "env-endpoint",
		"TEMPORAL_CODEC_AUTH":                    "env-auth",
		"TEMPORAL_GRPC_META_SOME_HEADER2":        "env=2",
		"TEMPORAL_GRPC_META_SOME_HEADER3":        "",
		"TEMPORAL_GRPC_META_SOME_HEADER4":        "4",
		"TEMPORAL_GRPC_META_":                    "names no header",
	})
	same(t, &clientconfig.Profile{
		Address: "env:1", Namespace: "env-namespace", APIKey: "env-key", Authority: "env-authority",
		Codec:    &clientconfig.Codec{Endpoint: "env-endpoint", Auth: "env-auth"},
		GRPCMeta: map[string]string{"some-header1": "1", "some-header2": "env=2", "some-header4": "4"},
		TLS: &clientconfig.TLS{
			ClientCertPath: "env-cert-path", ClientCertData: []byte("env-cert"),
			ClientKeyPath: "env-key-path", ClientKeyData: []byte("env-key-data"),
			ServerCACertPath: "env-ca-path", ServerCACertData: []byte("env-ca"), ServerName: "env-name",
		},
	}, got)
}

func TestVariables(t *testing.T) {
	for name, tc := range map[string]struct {
		env  map[string]string
		want clientconfig.Profile
	}{
		"none":                      {nil, clientconfig.Profile{}},
		"one TLS variable":          {map[string]string{"TEMPORAL_TLS_SERVER_NAME": "n"}, clientconfig.Profile{TLS: &clientconfig.TLS{ServerName: "n"}}},
		"TLS off":                   {map[string]string{"TEMPORAL_TLS": "false"}, clientconfig.Profile{TLS: &clientconfig.TLS{Disabled: true}}},
		"TLS neither on nor off":    {map[string]string{"TEMPORAL_TLS": "maybe"}, clientconfig.Profile{}},
		"codec":                     {map[string]string{"TEMPORAL_CODEC_AUTH": "a"}, clientconfig.Profile{Codec: &clientconfig.Codec{Auth: "a"}}},
		"header":                    {map[string]string{"TEMPORAL_GRPC_META_A_B": "c"}, clientconfig.Profile{GRPCMeta: map[string]string{"a-b": "c"}}},
		"header that was not there": {map[string]string{"TEMPORAL_GRPC_META_A": ""}, clientconfig.Profile{}},
	} {
		t.Run(name, func(t *testing.T) {
			same(t, &tc.want, load(t, clientconfig.Options{NoFile: true}, tc.env))
		})
	}
}

func TestAnEmptyVariableEmptiesTheField(t *testing.T) {
	got := load(t, clientconfig.Options{FileData: []byte(everything), Profile: "foo"}, map[string]string{
		"TEMPORAL_ADDRESS": "", "TEMPORAL_TLS_CLIENT_CERT_DATA": "", "TEMPORAL_TLS": "",
	})
	want := fileProfile()
	want.Address, want.TLS.ClientCertData = "", nil
	same(t, want, got)
}

func TestALookupAloneOverridesTheHeadersOfTheFile(t *testing.T) {
	t.Setenv("TEMPORAL_GRPC_META_OTHER", "of this process")
	o := with(clientconfig.Options{FileData: []byte(everything), Profile: "foo"}, map[string]string{"TEMPORAL_GRPC_META_SOME_HEADER1": "new"})
	o.Environ = nil
	got, err := clientconfig.Load(o)
	if err != nil {
		t.Fatal(err)
	}
	want := fileProfile()
	want.GRPCMeta["some-header1"] = "new"
	same(t, want, got)
}

func TestTheProcessHasAnEnvironment(t *testing.T) {
	t.Setenv("TEMPORAL_ADDRESS", "here:1")
	t.Setenv("TEMPORAL_GRPC_META_X", "y")
	got, err := clientconfig.Load(clientconfig.Options{NoFile: true})
	if err != nil {
		t.Fatal(err)
	}
	if got.Address != "here:1" || got.GRPCMeta["x"] != "y" {
		t.Errorf("profile is %+v", got)
	}
}

func write(t *testing.T, path, content string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func profileAt(address string) string { return "[profile.default]\naddress = \"" + address + "\"\n" }

func TestWhereTheFileIsLookedFor(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir) // Linux
	t.Setenv("HOME", dir)            // macOS
	t.Setenv("AppData", dir)         // Windows
	write(t, clientconfig.DefaultFile(), profileAt("default"))
	named := write(t, filepath.Join(dir, "named.toml"), profileAt("named"))
	given := write(t, filepath.Join(dir, "given.toml"), profileAt("given"))
	env := map[string]string{"TEMPORAL_CONFIG_FILE": named}

	for want, p := range map[string]*clientconfig.Profile{
		"default":  load(t, clientconfig.Options{}, nil),
		"default ": load(t, clientconfig.Options{}, map[string]string{"TEMPORAL_CONFIG_FILE": ""}),
		"named":    load(t, clientconfig.Options{}, env),
		"named ":   load(t, clientconfig.Options{NoEnv: true}, env),
		"given":    load(t, clientconfig.Options{File: given}, env),
		"data":     load(t, clientconfig.Options{FileData: []byte(profileAt("data"))}, env),
		"":         load(t, clientconfig.Options{NoFile: true}, env),
		" ":        load(t, clientconfig.Options{File: filepath.Join(dir, "absent.toml")}, nil),
	} {
		if p.Address != strings.TrimSpace(want) {
			t.Errorf("read %q, want %q", p.Address, want)
		}
	}
	if suffix := filepath.Join("temporalio", "temporal.toml"); !strings.HasSuffix(clientconfig.DefaultFile(), suffix) {
		t.Errorf("default file is %s", clientconfig.DefaultFile())
	}
}

func TestWithoutAConfigurationDirectoryThereIsNoFile(t *testing.T) {
	for _, name := range []string{"XDG_CONFIG_HOME", "HOME", "AppData"} {
		t.Setenv(name, "")
	}
	same(t, &clientconfig.Profile{}, load(t, clientconfig.Options{}, nil))
}

func TestLoadReportsMistakes(t *testing.T) {
	dir := t.TempDir()
	for name, tc := range map[string]struct {
		options clientconfig.Options
		env     map[string]string
		want    []string
	}{
		"nothing to read":       {clientconfig.Options{NoFile: true, NoEnv: true}, nil, []string{"neither"}},
		"file and content":      {clientconfig.Options{File: "f", FileData: []byte("a=1")}, nil, []string{"both"}},
		"not TOML":              {clientconfig.Options{File: write(t, filepath.Join(dir, "bad.toml"), "=")}, nil, []string{"bad.toml"}},
		"wrong type":            {clientconfig.Options{FileData: []byte("[profile.default]\naddress = 1")}, nil, []string{"address"}},
		"unreadable":            {clientconfig.Options{File: dir}, nil, []string{dir}},
		"absent profile":        {clientconfig.Options{FileData: []byte(everything), Profile: "bar"}, nil, []string{`"bar"`}},
		"absent default, asked": {clientconfig.Options{FileData: []byte(everything), Profile: "default"}, nil, []string{`"default"`}},
		"absent by variable":    {clientconfig.Options{FileData: []byte(everything)}, map[string]string{"TEMPORAL_PROFILE": "bar"}, []string{`"bar"`}},
		"unknown keys": {
			clientconfig.Options{FileData: []byte("top = 1\n[profile.default]\nnew = 1\n[profile.other.tls]\nnewer = 1"), Strict: true}, nil,
			[]string{"top", "profile.default.new", "profile.other.tls.newer"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := clientconfig.Load(with(tc.options, tc.env))
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not mention %s", err, want)
				}
			}
		})
	}
}

func TestUnknownKeysAreIgnored(t *testing.T) {
	same(t, &clientconfig.Profile{Address: "a"}, load(t, clientconfig.Options{FileData: []byte("top = 1\n" + profileAt("a") + "new = { deep = 1 }")}, nil))
}

func TestWhenTLSIsOn(t *testing.T) {
	for name, tc := range map[string]struct {
		profile clientconfig.Profile
		want    bool
	}{
		"nothing said":          {clientconfig.Profile{}, false},
		"API key":               {clientconfig.Profile{APIKey: "k"}, true},
		"API key, disabled":     {clientconfig.Profile{APIKey: "k", TLS: &clientconfig.TLS{Disabled: true}}, false},
		"TLS part":              {clientconfig.Profile{TLS: &clientconfig.TLS{}}, true},
		"disabled, though full": {clientconfig.Profile{TLS: &clientconfig.TLS{Disabled: true, ServerName: "n", ClientCertPath: "absent"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := tc.profile.TLSConfig()
			if err != nil || (c != nil) != tc.want {
				t.Errorf("config %v, %v", c, err)
			}
		})
	}
}

// pair is a certificate that signs itself, and its key, both PEM.
func pair(t *testing.T) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{"test"},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

func TestCertificatesAreLoaded(t *testing.T) {
	cert, key := pair(t)
	dir := t.TempDir()
	certPath, keyPath := write(t, filepath.Join(dir, "cert.pem"), string(cert)), write(t, filepath.Join(dir, "key.pem"), string(key))
	for name, part := range map[string]clientconfig.TLS{
		"data":  {ClientCertData: cert, ClientKeyData: key, ServerCACertData: cert},
		"paths": {ClientCertPath: certPath, ClientKeyPath: keyPath, ServerCACertPath: certPath},
		"mixed": {ClientCertPath: certPath, ClientKeyData: key, ServerCACertData: cert},
	} {
		t.Run(name, func(t *testing.T) {
			part.ServerName, part.DisableHostVerification = "test", true
			c, err := (&clientconfig.Profile{TLS: &part}).TLSConfig()
			if err != nil {
				t.Fatal(err)
			}
			if len(c.Certificates) != 1 || c.ServerName != "test" || !c.InsecureSkipVerify || c.MinVersion != tls.VersionTLS12 {
				t.Errorf("config %+v", c)
			}
			if _, err := c.Certificates[0].Leaf.Verify(x509.VerifyOptions{Roots: c.RootCAs, DNSName: "test"}); err != nil {
				t.Errorf("the CA is not trusted: %v", err)
			}
		})
	}
}

func TestTLSConfigReportsMistakes(t *testing.T) {
	cert, key := pair(t)
	_, otherKey := pair(t)
	absent := filepath.Join(t.TempDir(), "absent.pem")
	empty := write(t, filepath.Join(t.TempDir(), "empty.pem"), "")
	for name, tc := range map[string]struct {
		part clientconfig.TLS
		want string
	}{
		"certificate alone":      {clientconfig.TLS{ClientCertData: cert}, "without a key"},
		"key alone":              {clientconfig.TLS{ClientKeyData: key}, "without a certificate"},
		"another's key":          {clientconfig.TLS{ClientCertData: cert, ClientKeyData: otherKey}, "client certificate"},
		"certificate twice":      {clientconfig.TLS{ClientCertData: cert, ClientCertPath: absent, ClientKeyData: key}, "both"},
		"key twice":              {clientconfig.TLS{ClientCertData: cert, ClientKeyPath: absent, ClientKeyData: key}, "both"},
		"CA twice":               {clientconfig.TLS{ServerCACertData: cert, ServerCACertPath: absent}, "both"},
		"no certificate file":    {clientconfig.TLS{ClientCertPath: absent, ClientKeyData: key}, absent},
		"empty certificate file": {clientconfig.TLS{ClientCertPath: empty, ClientKeyData: key}, "client certificate"},
		"no CA file":             {clientconfig.TLS{ServerCACertPath: absent}, absent},
		"empty CA file":          {clientconfig.TLS{ServerCACertPath: empty}, "server CA"},
		"CA is no PEM":           {clientconfig.TLS{ServerCACertData: []byte("x")}, "server CA"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := (&clientconfig.Profile{TLS: &tc.part}).TLSConfig()
			if err == nil || c != nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("config %v, error %v", c, err)
			}
		})
	}
}

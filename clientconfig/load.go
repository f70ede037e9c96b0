package clientconfig

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/BurntSushi/toml"
)

// DefaultProfile is the profile that is read when none is named.
const DefaultProfile = "default"

// Profile says how to reach a server. Empty fields were found nowhere; whoever connects has defaults for them.
type Profile struct {
	// Address is host:port of the server's gRPC.
	Address   string
	Namespace string
	// APIKey is sent with every call. A key alone turns TLS on.
	APIKey string
	// Authority replaces the :authority of calls.
	Authority string
	// TLS is nil when nothing is said about it.
	TLS *TLS
	// GRPCMeta are headers sent with every call. Names are lower case and have hyphens, not underscores.
	GRPCMeta map[string]string
	// Codec is where payloads can be decoded for people. It is recognized here and used by tools.
	Codec *Codec
}

// TLS is the TLS part of a profile. Of each path and data only one may be given; data is PEM.
type TLS struct {
	// Disabled turns TLS off whatever else is said.
	Disabled         bool
	ClientCertPath   string
	ClientCertData   []byte
	ClientKeyPath    string
	ClientKeyData    []byte
	ServerCACertPath string
	ServerCACertData []byte
	// ServerName is the name the server's certificate must have, instead of the address.
	ServerName string
	// DisableHostVerification accepts any certificate of the server.
	DisableHostVerification bool
}

// Codec is a remote codec: its endpoint, and the value of the Authorization header for it.
type Codec struct{ Endpoint, Auth string }

// Options say where to look. The zero value looks where everybody does.
type Options struct {
	// File is the path of the file. Empty is TEMPORAL_CONFIG_FILE, and without it temporalio/temporal.toml in
	// [os.UserConfigDir]. A file that does not exist is an empty one.
	File string
	// FileData is the content of the file; nothing is read from disk then. It excludes File.
	FileData []byte
	// Profile is the one to read. Empty is TEMPORAL_PROFILE, and without it [DefaultProfile]. A profile that was named,
	// here or by the variable, must be there; the default one need not.
	Profile string
	// NoFile reads no file.
	NoFile bool
	// NoEnv lets no variable change the profile. TEMPORAL_CONFIG_FILE and TEMPORAL_PROFILE still say what to read.
	// NoFile and NoEnv together leave nothing and are an error.
	NoEnv bool
	// Strict makes keys in the file that are not known an error. Otherwise they are ignored.
	Strict bool
	// LookupEnv replaces [os.LookupEnv].
	LookupEnv func(string) (string, bool)
	// Environ replaces [os.Environ], of which only the names are used, to find TEMPORAL_GRPC_META_*. Nil beside a
	// LookupEnv of one's own finds only the headers that the file names.
	Environ func() []string
}

// Load reads the profile. What the environment says wins over what the file says, variable by variable; a variable that
// is set but empty empties the field.
func Load(o Options) (*Profile, error) {
	if o.NoFile && o.NoEnv {
		return nil, errors.New("load client configuration: neither file nor environment may be read")
	}
	if o.LookupEnv == nil {
		o.LookupEnv = os.LookupEnv
		if o.Environ == nil {
			o.Environ = os.Environ
		}
	}
	p := &Profile{}
	if !o.NoFile {
		if err := o.readFile(p); err != nil {
			return nil, fmt.Errorf("load client configuration: %w", err)
		}
	}
	if !o.NoEnv {
		o.readEnv(p)
	}
	return p, nil
}

func (o *Options) readFile(into *Profile) error {
	data, source, err := o.file()
	if err != nil {
		return err
	}
	var f struct {
		Profiles map[string]fileProfile `toml:"profile"`
	}
	meta, err := toml.Decode(string(data), &f)
	if err != nil {
		return fmt.Errorf("%s: %w", source, err)
	}
	if unknown := meta.Undecoded(); o.Strict && len(unknown) > 0 {
		return fmt.Errorf("%s: unknown keys: %s", source, joinKeys(unknown))
	}
	name, named := o.profile()
	p, ok := f.Profiles[name]
	if !ok && named {
		return fmt.Errorf("%s has no profile %q", source, name)
	}
	*into = p.profile()
	return nil
}

// file is the content of the file and a name for it. A variable that is empty counts as unset here.
func (o *Options) file() (data []byte, source string, err error) {
	if len(o.FileData) > 0 {
		if o.File != "" {
			return nil, "", errors.New("both a file and its content are given")
		}
		return o.FileData, "given content", nil
	}
	path := o.File
	if path == "" {
		path, _ = o.LookupEnv("TEMPORAL_CONFIG_FILE")
	}
	if path == "" {
		if path = DefaultFile(); path == "" {
			return nil, "no file", nil
		}
	}
	data, err = os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return data, path, err
}

// DefaultFile is the path that is read when none is given, and empty where the user has no configuration directory.
func DefaultFile() string {
	dir, err := os.UserConfigDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "temporalio", "temporal.toml")
}

// profile is the name of the profile to read, and whether somebody asked for it.
func (o *Options) profile() (name string, named bool) {
	name = o.Profile
	if name == "" {
		name, _ = o.LookupEnv("TEMPORAL_PROFILE")
	}
	if name == "" {
		return DefaultProfile, false
	}
	return name, true
}

func joinKeys(keys []toml.Key) string {
	s := make([]string, len(keys))
	for i, k := range keys {
		s[i] = k.String()
	}
	return strings.Join(s, ", ")
}

// fileProfile is a profile as the file writes it.
type fileProfile struct {
	Address   string            `toml:"address"`
	Namespace string            `toml:"namespace"`
	APIKey    string            `toml:"api_key"`
	Authority string            `toml:"authority"`
	TLS       *fileTLS          `toml:"tls"`
	GRPCMeta  map[string]string `toml:"grpc_meta"`
	Codec     *fileCodec        `toml:"codec"`
}

type fileTLS struct {
	Disabled                bool   `toml:"disabled"`
	ClientCertPath          string `toml:"client_cert_path"`
	ClientCertData          string `toml:"client_cert_data"`
	ClientKeyPath           string `toml:"client_key_path"`
	ClientKeyData           string `toml:"client_key_data"`
	ServerCACertPath        string `toml:"server_ca_cert_path"`
	ServerCACertData        string `toml:"server_ca_cert_data"`
	ServerName              string `toml:"server_name"`
	DisableHostVerification bool   `toml:"disable_host_verification"`
}

type fileCodec struct {
	Endpoint string `toml:"endpoint"`
	Auth     string `toml:"auth"`
}

func (f fileProfile) profile() Profile {
	p := Profile{Address: f.Address, Namespace: f.Namespace, APIKey: f.APIKey, Authority: f.Authority}
	if t := f.TLS; t != nil {
		p.TLS = &TLS{
			Disabled:                t.Disabled,
			ClientCertPath:          t.ClientCertPath,
			ClientCertData:          bytesOf(t.ClientCertData),
			ClientKeyPath:           t.ClientKeyPath,
			ClientKeyData:           bytesOf(t.ClientKeyData),
			ServerCACertPath:        t.ServerCACertPath,
			ServerCACertData:        bytesOf(t.ServerCACertData),
			ServerName:              t.ServerName,
			DisableHostVerification: t.DisableHostVerification,
		}
	}
	if len(f.GRPCMeta) > 0 {
		p.GRPCMeta = make(map[string]string, len(f.GRPCMeta))
		for k, v := range f.GRPCMeta {
			p.GRPCMeta[headerName(k)] = v
		}
	}
	if f.Codec != nil {
		p.Codec = &Codec{Endpoint: f.Codec.Endpoint, Auth: f.Codec.Auth}
	}
	return p
}

// bytesOf is nil for nothing, which a []byte conversion is not.
func bytesOf(s string) []byte {
	if s == "" {
		return nil
	}
	return []byte(s)
}

// headerName is how a header is called on the wire.
func headerName(key string) string { return strings.ToLower(strings.ReplaceAll(key, "_", "-")) }

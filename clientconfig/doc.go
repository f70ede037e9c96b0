// Package clientconfig reads how to reach a server from where the official SDKs and CLI read it too: the TEMPORAL_*
// environment variables and a file of profiles, temporal.toml.
//
//	[profile.default]
//	address   = "localhost:7233"
//	namespace = "default"
//	api_key   = "..."
//	authority = "..."
//	grpc_meta = { some-header = "value" }
//
//	[profile.default.tls]
//	disabled                  = false
//	client_cert_path          = "..."   # or client_cert_data, PEM
//	client_key_path           = "..."   # or client_key_data, PEM
//	server_ca_cert_path       = "..."   # or server_ca_cert_data, PEM
//	server_name               = "..."
//	disable_host_verification = false
//
//	[profile.default.codec]
//	endpoint = "..."
//	auth     = "..."
//
// The variables are TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_API_KEY, TEMPORAL_CLIENT_AUTHORITY, TEMPORAL_TLS
// (true or false, 1 or 0), TEMPORAL_TLS_ followed by a key of the TLS table in capitals, TEMPORAL_CODEC_ENDPOINT,
// TEMPORAL_CODEC_AUTH, and TEMPORAL_GRPC_META_ followed by the name of a header. TEMPORAL_CONFIG_FILE names the file,
// TEMPORAL_PROFILE the profile. A variable that is set wins over the file.
//
// Left out on purpose: writing the file, and connecting.
package clientconfig

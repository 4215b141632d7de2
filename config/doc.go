// Package config is the configuration language of Sallyport: its types, strict
// decoding, defaults and validation. It is data only. It reads one file, never
// the environment, opens no socket, and starts nothing.
//
// It imports no room but [github.com/sallyport/sallyport/config/secret]. A
// [Config] belongs to whoever loaded it; after Load nothing here changes it, so
// it may be read by many goroutines.
//
//	cfg, problems := config.Load("/etc/sallyport/sallyport.yaml")
//	if err := problems.Err(); err != nil {
//		fmt.Fprintln(os.Stderr, err) // every problem, with its line and what to do
//		os.Exit(1)
//	}
//	for _, site := range cfg.Sites {
//		fmt.Println(site.Name, site.IssuerOf(site.Name), site.Proxy)
//	}
//
// The types in types.go are the grammar: `yaml` names a key, `default` is the
// text that stands in for a missing one, `enum` and `min` bound it, and `kind`
// marks paths. REFERENCE.md and schema.json are generated from them.
//
// # From bytes to Config
//
// syntax.go makes a syntax tree of the bytes and bounds what a file may cost,
// decode.go fills the types by reflection (scalar.go one word, forms.go the
// short forms, unknown.go keys that do not exist), and the validate files look
// at the configuration as a whole. Each goes on after a problem, so that one run
// reports them all.
//
// A problem is printed with its line of the file, and a file may hold tokens.
// secretive.go and tree.go decide which lines may hold one; such a line, and
// every value on it, is left out of all messages. Nothing of the YAML library's
// own messages is printed either, for they quote the file.
package config

//go:generate go run ./internal/generate

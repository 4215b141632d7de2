// Command sallyport is a TLS reverse proxy that obtains and renews its own
// certificates by ACME DNS-01 through Cloudflare.
//
// This package is the wiring: it seals the environment, parses the command
// line, loads the configuration and hands it to the rooms. It knows every room
// and no room knows it. It owns the process: signals, exit codes, standard
// error, and the goroutines that the rooms' Run methods live in.
//
//	sallyport run --config /etc/sallyport/sallyport.yaml
//	sallyport check --config sallyport.yaml --online
//	sallyport dev --to http://127.0.0.1:3000
//
// seal.go is the only file of the project that reads the environment.
package main

// Go functions without a body, as in http3_streams.go, need an assembly file in
// their package.

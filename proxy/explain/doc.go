// Package explain has the words of `sallyport explain`: a [Question] about one
// request, and the [Answer] that says what would become of it and why. They
// travel as a form and as JSON over the admin socket.
//
// It is a leaf that imports nothing of the house: proxy fills answers from the
// same code that serves requests, cmd adds what the certificates' side knows and
// prints them. Nobody owns anything here; both are plain data.
//
//	question := explain.Question{URL: "https://app.example.com/api/users", Method: "POST"}
//	answer, err := p.Explain(generation, question)
package explain

// Package secret has the one type that holds a token: [Text], which cannot
// print itself.
//
// It is a leaf: every room may import it and it imports no room. Nobody owns a
// Text; it is a small value that is copied, and the text behind it is never
// changed.
//
//	token := secret.New("cfut_...")
//	logger.Info("token read", zap.Any("token", token))        // [secret]
//	req.Header.Set("Authorization", "Bearer "+token.Reveal()) // the only way out
package secret

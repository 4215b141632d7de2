package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// leastToken is how many characters an admin token has at least.
const leastToken = 16

// adminToken reads the token of admin.listen: at each use, so that a new one
// takes effect at once. Whatever is wrong with it, nobody gets in.
func (e *edge) adminToken() (string, error) {
	e.mu.Lock()
	path := e.config.Admin.TokenFile
	e.mu.Unlock()
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("admin.token_file: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, 4<<10))
	if err != nil {
		return "", fmt.Errorf("admin.token_file: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if len(token) < leastToken {
		return "", errors.New("admin.token_file: the token is too short")
	}
	return token, nil
}

// hash names the configuration that is loaded.
func (e *edge) hash() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.config.Hash()
}

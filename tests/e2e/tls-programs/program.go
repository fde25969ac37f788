// SPDX-License-Identifier: GPL-2.0-or-later

// As client.py and server.py in one: program client CA HOST PORT VERSION PATH... | program server CERTIFICATE KEY PORT
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
)

func client(ca, host, port, version string, paths []string) {
	roots := x509.NewCertPool()
	text, err := os.ReadFile(ca)
	if err != nil || !roots.AppendCertsFromPEM(text) {
		log.Fatal("no certificate in ", ca)
	}
	number := map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}[version]
	config := &tls.Config{RootCAs: roots, ServerName: host, MinVersion: number, MaxVersion: number,
		ClientSessionCache: tls.NewLRUClientSessionCache(4)}
	for _, path := range paths {
		link, err := tls.Dial("tcp", host+":"+port, config)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Fprintf(link, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, host)
		response, err := http.ReadResponse(bufio.NewReader(link), nil)
		if err != nil {
			log.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		how := "full"
		if link.ConnectionState().DidResume {
			how = "resumed"
		}
		fmt.Println(how, strings.TrimSpace(string(body)))
		link.Close()
	}
}

func server(certificate, key, port string) {
	http.HandleFunc("/", func(response http.ResponseWriter, request *http.Request) {
		response.Header().Set("Content-Type", "text/plain")
		fmt.Fprintf(response, "you asked for %s\n", request.URL.Path)
	})
	log.Fatal(http.ListenAndServeTLS(":"+port, certificate, key, nil))
}

func main() {
	if os.Args[1] == "client" {
		client(os.Args[2], os.Args[3], os.Args[4], os.Args[5], os.Args[6:])
	} else {
		server(os.Args[2], os.Args[3], os.Args[4])
	}
}

// SPDX-License-Identifier: GPL-2.0-or-later
// serve KEY CERT: prints its port. connect PORT VERSION: a line "many COUNT LENGTH" makes so many
// connections at once; each sends LENGTH times a capital letter of its own and gets as many small ones.
package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"sync"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

const total = 100000 // that a server waits for

// Reads into a buffer on the stack, which grows meanwhile.
func receive(c *tls.Conn, length int) []byte {
	var buffer [3000]byte
	var all []byte
	for len(all) < length {
		n, err := c.Read(buffer[:])
		all = append(all, buffer[:n]...)
		if len(all) < length { // the end may come with the last bytes
			must(err)
		}
	}
	return all
}

func serve(key, cert string) {
	pair, err := tls.LoadX509KeyPair(cert, key)
	must(err)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	must(err)
	var port string
	fmt.Sscanf(listener.Addr().String(), "127.0.0.1:%s", &port)
	fmt.Println(port)
	go func() {
		io.ReadAll(os.Stdin)
		os.Exit(0)
	}()
	for {
		c, err := listener.Accept()
		must(err)
		go func(c *tls.Conn) {
			first := receive(c, 1)
			all := append(first, receive(c, total-len(first))...)
			_, err := c.Write(bytes.ToLower(all))
			must(err)
			c.Close()
		}(c.(*tls.Conn))
	}
}

func say(port string, version uint16, letter byte, length int) {
	c, err := tls.Dial("tcp", "127.0.0.1:"+port, &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
	must(err)
	_, err = c.Write(bytes.Repeat([]byte{letter}, length))
	must(err)
	got := receive(c, length)
	if !bytes.Equal(got, bytes.Repeat([]byte{letter + 32}, length)) {
		panic("another answer")
	}
	c.Close()
}

func connect(port, version string) {
	number := uint16(tls.VersionTLS13)
	if version == "1.2" {
		number = tls.VersionTLS12
	}
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var count, length int
		fmt.Sscanf(lines.Text(), "many %d %d", &count, &length)
		var group sync.WaitGroup
		for i := 0; i < count; i++ {
			group.Add(1)
			go func(i int) {
				say(port, number, byte('A'+i), length)
				group.Done()
			}(i)
		}
		group.Wait()
		fmt.Println("done")
	}
}

func main() {
	if os.Args[1] == "serve" {
		serve(os.Args[2], os.Args[3])
	} else {
		connect(os.Args[2], os.Args[3])
	}
}

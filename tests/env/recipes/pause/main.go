// Holds a pod's namespaces until it is stopped. With arguments it is the bed's probe:
// `exit CODE` ends so, `dial HOST:PORT` ends with 0 once the name resolves and the port accepts.
package main

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == "exit" {
		code, err := strconv.Atoi(os.Args[2])
		if err != nil {
			code = 2
		}
		os.Exit(code)
	}
	if len(os.Args) == 3 && os.Args[1] == "dial" {
		conn, err := net.DialTimeout("tcp", os.Args[2], 20*time.Second)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("connected to", conn.RemoteAddr())
		os.Exit(0)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	<-stop
}

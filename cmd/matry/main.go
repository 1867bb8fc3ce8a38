// Command matry is the command line of Matryoshka. It imports no Kubernetes server code.
package main

func main() {}

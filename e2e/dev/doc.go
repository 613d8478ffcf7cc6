// Package dev holds whole-system tests of `streamhouse dev` from the outside: what it writes and prints, parts that are killed, agents that come back or
// join, restarts, what stays behind (nothing), two of them side by side, a normal user's; and the demonstration, with fewer lines. Nothing is known of it
// but the command line, dev.json and the process table. Nothing here but tests.
// Read: dev_test.go, life_test.go, join_test.go, user_test.go, placement_test.go, failover_test.go, bench_test.go, demo_test.go.
package dev

module github.com/streamhouse/streamhouse/sql

go 1.26

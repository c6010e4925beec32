module bpfast.io/e2e/clients/go

go 1.19

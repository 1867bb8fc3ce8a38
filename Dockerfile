# The release image of the server side. Build the program first: make build VERSION=...
FROM scratch
COPY bin/matryd /matryd
USER 65532:65532
ENTRYPOINT ["/matryd"]

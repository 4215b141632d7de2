# docker build -t sallyport .
#
# The image is one static binary and an empty directory: no shell, no package
# manager, no CA bundle (the roots are inside the binary).

ARG BUILDER=golang:1.26

FROM --platform=$BUILDPLATFORM ${BUILDER} AS build
WORKDIR /src
COPY . .
# Set by the engine to the platform of the image; Go cross-compiles.
ARG TARGETOS
ARG TARGETARCH
RUN --mount=type=cache,target=/go/pkg/mod \
    --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -ldflags "-s -w" -o /out/sallyport ./cmd/sallyport
# scratch has no mkdir. A new volume takes owner and mode from this directory.
RUN mkdir -p /out/lib/sallyport && chmod 0700 /out/lib/sallyport

FROM scratch
LABEL org.opencontainers.image.title="Sallyport" \
      org.opencontainers.image.description="TLS reverse proxy with certificates by ACME DNS-01 through Cloudflare" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/sallyport /sallyport
COPY --from=build --chown=65532:65532 /out/lib/ /var/lib/
# Not root, and no file capability on the binary: with no-new-privileges and
# all capabilities dropped the kernel would refuse to execute it. Docker lets
# every user bind 80 and 443 inside a container; deploy/compose.yaml says so
# explicitly for other engines.
USER 65532:65532
VOLUME /var/lib/sallyport
EXPOSE 80 443 443/udp
# As nginx's image: finish the requests under way, then stop.
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=30s --timeout=5s --start-period=15s --retries=3 CMD ["/sallyport", "healthcheck"]
ENTRYPOINT ["/sallyport"]
CMD ["run", "--config", "/etc/sallyport/sallyport.yaml"]

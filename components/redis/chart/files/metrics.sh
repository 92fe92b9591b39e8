#!/bin/sh
# Shows the figures of the member beside it, for Prometheus. It can be asked to look at another place; so its password
# is told for this member alone, and whoever asks has to show a certificate of the site.
set -eu
. /opt/apadana/lib.sh

umask 077
need_secrets metrics
printf '{"rediss://metrics@%s:6379": "%s"}\n' "$SELF" "$(secret metrics)" > "$RUN/metrics.json"
export REDIS_ADDR="rediss://$SELF:6379" REDIS_USER=metrics REDIS_PASSWORD_FILE="$RUN/metrics.json"
export REDIS_EXPORTER_TLS_CA_CERT_FILE="$TLS/ca.crt"
export REDIS_EXPORTER_TLS_SERVER_CERT_FILE="$TLS/tls.crt" REDIS_EXPORTER_TLS_SERVER_KEY_FILE="$TLS/tls.key"
export REDIS_EXPORTER_TLS_SERVER_CA_CERT_FILE="$TLS/ca.crt"
# Its user may ask for INFO and how long two logs are; not for settings, nor may it give itself a name.
export REDIS_EXPORTER_CONFIG_COMMAND=- REDIS_EXPORTER_SET_CLIENT_NAME=false
export REDIS_EXPORTER_EXCLUDE_LATENCY_HISTOGRAM_METRICS=true
export REDIS_EXPORTER_CONNECTION_TIMEOUT=3s REDIS_EXPORTER_LOG_FORMAT=json
exec redis-exporter

{{- $members := printf "%s-members.%s.svc.%s" .Release.Name .Release.Namespace .Values.cluster_domain }}
{{- $line := "ssl verify required ca-file /etc/apadana/tls/ca.crt crt /etc/apadana/tls/tls.crt check inter 5s rise 1 observe layer4 error-limit 1 on-error mark-down resolvers cluster resolve-prefer ipv4 init-addr none tcp-ut 3s" }}
resolvers cluster
  parse-resolv-conf
  resolve_retries 2
  timeout resolve 5s
  timeout retry 1s
  hold valid 5s
  hold nx 1s
  hold timeout 1s
  accepted_payload_size 4096

{{- $checks := dict
      "window" (dict "path" "/api/v1/query?query=apadana:whole" "expect" "string ',\"1\"]'" "fall" "fall 1")
      "running" (dict "path" "/-/ready" "expect" "status 200" "fall" "fall 2 fastinter 1s") }}

# Whoever has the whole window answers (a number of each replica's own rule: as much as anybody has). All fronts
# choose the same one, so that graphs don't jump between two clocks; nobody has it in the first minutes of a site:
# then whoever runs.
{{- range $kind, $check := $checks }}
{{- range $i := until (int $.Values.replicas) }}
{{- $host := printf "%s-%d.%s" $.Release.Name $i $members }}
backend {{ $kind }}_{{ $i }}
  option httpchk
  http-check send meth GET uri {{ $check.path }} ver HTTP/1.1 hdr Host localhost
  http-check expect {{ $check.expect }}
  http-check set-var(proc.{{ $kind }}_{{ $i }}) date
  server {{ $.Release.Name }}-{{ $i }} {{ $host }}:9444 {{ $line }} {{ $check.fall }} verifyhost {{ $host }} sni str({{ $host }}) check-sni {{ $host }}
{{ end }}
{{- end }}

global:
  resolve_timeout: 5m
route:
  receiver: {{ if .Values.receivers }}all{{ else }}nobody{{ end }}
  group_by: [component, alertname]
  group_wait: {{ .Values.group_wait_seconds }}s
  group_interval: {{ .Values.group_interval_seconds }}s
  repeat_interval: {{ .Values.repeat_hours }}h
inhibit_rules:
  # Who is told that something stands still need not be told that it limps.
  - source_matchers: [severity="critical"]
    target_matchers: [severity="warning"]
    equal: [component]
receivers:
  {{- if .Values.receivers }}
  - name: all
    webhook_configs:
      {{- range .Values.receivers }}
      - url: {{ .url | quote }}
        send_resolved: {{ .resolved }}
        max_alerts: 50
        timeout: 10s
        http_config:
          follow_redirects: false
          {{- if .secret }}
          authorization: {type: Bearer, credentials_file: /etc/apadana/receivers/{{ .name }}/token}
          {{- end }}
          {{- if eq .trust "site" }}
          tls_config: {ca_file: /etc/apadana/tls/ca.crt, min_version: TLS12}
          {{- end }}
      {{- end }}
  {{- else }}
  # Nothing is set: alerts are grouped and shown, and nobody is told.
  - name: nobody
  {{- end }}

# What looks at certificates: one way for each name that is asked for. It does not verify them: of one that has ended
# the end is still to be seen, and clients verify them each time.
modules:
  {{- $names := list "" }}
  {{- range .Values.certificates.looks }}
  {{- $names = append $names .server_name }}
  {{- end }}
  {{- range uniq $names }}
  {{ . | default "its-own-name" }}:
    prober: tcp
    timeout: 5s
    tcp:
      preferred_ip_protocol: ip4
      tls: true
      tls_config:
        insecure_skip_verify: true
        {{- with . }}
        server_name: {{ . }}
        {{- end }}
  {{- end }}

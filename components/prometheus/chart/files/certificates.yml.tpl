# What looks from outside. At certificates: one way for each name that is asked for. It does not verify them: of one that has ended
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
  {{- if .Values.watch_control_planes }}
  # A list without a single figure is an answer, too.
  usage-figures:
    prober: http
    timeout: 8s
    http:
      preferred_ip_protocol: ip4
      authorization: {credentials_file: /var/run/secrets/kubernetes.io/serviceaccount/token}
      tls_config:
        ca_file: /var/run/secrets/kubernetes.io/serviceaccount/ca.crt
        server_name: kubernetes.default.svc
      fail_if_body_not_matches_regexp: ['"usage"']
  {{- end }}

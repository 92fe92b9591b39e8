# The members talk to each other over TLS, and each shows its certificate.
tls_server_config:
  cert_file: /etc/apadana/tls/tls.crt
  key_file: /etc/apadana/tls/tls.key
  client_ca_file: /etc/apadana/tls/ca.crt
  client_auth_type: RequireAndVerifyClientCert
  min_version: TLS12
tls_client_config:
  cert_file: /etc/apadana/tls/tls.crt
  key_file: /etc/apadana/tls/tls.key
  ca_file: /etc/apadana/tls/ca.crt
  # They call each other by address: the name that every member's certificate has.
  server_name: {{ .Release.Name }}-members.{{ .Release.Namespace }}.svc.{{ .Values.cluster_domain }}
  min_version: TLS12

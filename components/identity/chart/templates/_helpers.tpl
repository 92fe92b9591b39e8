{{- define "identity.containers" -}}
- name: keycloak
  image: {{ .ctx.Values.image }}
  imagePullPolicy: {{ .ctx.Values.imagePullPolicy }}
  securityContext:
    {{- include "kit.containerSecurity" . | nindent 4 }}
  env:
    - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    - {name: DATABASE_ADDRESS, value: {{ .ctx.Values.database.address | quote }}}
    # A primary that froze is given up after socketTimeout; a commit that waits for its standby has to end before.
    - name: DATABASE_OPTIONS
      value: "sslmode=verify-full&sslrootcert=/etc/keycloak/database/ca.crt&connectTimeout=3&socketTimeout=20&tcpKeepAlive=true&ApplicationName=keycloak"
    - {name: MEMBERS, value: {{ printf "%s-members.%s.svc.%s" .ctx.Release.Name .ctx.Release.Namespace .ctx.Values.cluster_domain }}}
    - {name: KEYCLOAK_JAVA_OPTIONS, value: {{ .ctx.Values.java_options | quote }}}
    # Each arena of the C library's memory would keep tens of MiB that no heap limit counts.
    - {name: MALLOC_ARENA_MAX, value: "2"}
    - {name: HOME, value: /tmp}
  ports:
    - {name: https, containerPort: 8443}
    - {name: management, containerPort: 9000}
  # Once, at start: the first replica of an empty database also makes its tables.
  startupProbe:
    httpGet: {path: /health/started, port: 9000, scheme: HTTPS}
    periodSeconds: 2
    timeoutSeconds: 3
    failureThreshold: 150
  # Ready says no while PostgreSQL is away: tokens can't be had then, and no other replica could give them.
  readinessProbe:
    httpGet: {path: /health/ready, port: 9000, scheme: HTTPS}
    periodSeconds: 5
    timeoutSeconds: 3
    failureThreshold: 3
  # Asks the process alone: a database that is away must not restart what waits for it.
  livenessProbe:
    httpGet: {path: /health/live, port: 9000, scheme: HTTPS}
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 3
  resources:
    {{- toYaml .ctx.Values.resources | nindent 4 }}
  volumeMounts:
    - {name: config, mountPath: /etc/keycloak/config, readOnly: true}
    - {name: auth, mountPath: /etc/keycloak/auth, readOnly: true}
    - {name: database, mountPath: /etc/keycloak/database, readOnly: true}
    - {name: tls, mountPath: /etc/keycloak/tls, readOnly: true}
    - {name: run, mountPath: /run/keycloak}
    - {name: data, mountPath: /opt/keycloak/data}
    - {name: tmp, mountPath: /tmp}
{{- end -}}

{{- define "identity.volumes" -}}
- name: config
  configMap: {name: {{ .ctx.Release.Name }}-config}
- name: auth
  secret:
    secretName: {{ .ctx.Values.secrets.auth }}
    defaultMode: 0440
    items:
      - {key: admin-user, path: admin-user}
      - {key: admin-password, path: admin-password}
- name: database
  projected:
    defaultMode: 0440
    sources:
      - secret:
          name: {{ .ctx.Values.database.secret }}
          items:
            - {key: username, path: username}
            - {key: password, path: password}
            - {key: database, path: database}
      - configMap:
          name: {{ .ctx.Values.database.ca }}
          items:
            - {key: ca.crt, path: ca.crt}
- name: tls
  secret: {secretName: {{ .ctx.Values.secrets.tls }}, defaultMode: 0440}
# The settings with the passwords: never on a disk.
- name: run
  emptyDir: {medium: Memory, sizeLimit: 1Mi}
# What Keycloak writes beside its database: the trusted CAs as a store, compressed parts of its pages.
- name: data
  emptyDir: {sizeLimit: 64Mi}
{{- end -}}

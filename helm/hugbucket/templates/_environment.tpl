{{/* The environment of the gateway: settings as they are, secrets as names of mounted files. */}}
{{- define "hugbucket.environment" -}}
{{- $v := .Values -}}
- name: HUGBUCKET_CONFIG
  value: /etc/hugbucket/config/hugbucket.toml
{{- if $v.development.enabled }}
- name: HUGBUCKET_DEV
  value: "true"
- name: HUGBUCKET_DEV_DIR
  value: /var/lib/hugbucket
{{- else }}
- name: HUGBUCKET_REQUIRE_TOKEN
  value: "true"
- name: HF_TOKEN_FILE
  value: /etc/hugbucket/credentials/HF_TOKEN
- name: HF_ENDPOINT
  value: {{ $v.hub.endpoint | quote }}
{{- if $v.s3.enabled }}
- name: AWS_ACCESS_KEY_ID_FILE
  value: /etc/hugbucket/credentials/AWS_ACCESS_KEY_ID
- name: AWS_SECRET_ACCESS_KEY_FILE
  value: /etc/hugbucket/credentials/AWS_SECRET_ACCESS_KEY
{{- end }}
{{- if $v.ftp.enabled }}
- name: FTP_USERNAME_FILE
  value: /etc/hugbucket/credentials/FTP_USERNAME
- name: FTP_PASSWORD_FILE
  value: /etc/hugbucket/credentials/FTP_PASSWORD
{{- end }}
{{- end }}
{{- with $v.hub.namespace }}
- name: HUGBUCKET_NAMESPACE
  value: {{ . | quote }}
{{- end }}
{{- with $v.hub.extraNamespaces }}
- name: HUGBUCKET_EXTRA_NAMESPACES
  value: {{ join "," . | quote }}
{{- end }}
{{- if $v.tls.existingSecret }}
- name: HUGBUCKET_TLS_CERT_FILE
  value: /etc/hugbucket/tls/tls.crt
- name: HUGBUCKET_TLS_KEY_FILE
  value: /etc/hugbucket/tls/tls.key
{{- end }}
{{- with $v.s3.trustedProxies }}
- name: HUGBUCKET_TRUSTED_PROXIES
  value: {{ join "," . | quote }}
{{- end }}
- name: HUGBUCKET_ADMIN_ADDR
  value: "0.0.0.0:{{ int $v.admin.port }}"
{{- if $v.s3.enabled }}
- name: HUGBUCKET_S3_ADDR
  value: "0.0.0.0:{{ int $v.s3.port }}"
{{- with $v.s3.domains }}
- name: HUGBUCKET_S3_DOMAIN
  value: {{ join "," . | quote }}
{{- end }}
- name: HUGBUCKET_S3_REGION
  value: {{ $v.s3.region | quote }}
- name: HUGBUCKET_S3_STRICT_REGION
  value: {{ $v.s3.strictRegion | quote }}
- name: HUGBUCKET_DEFAULT_VISIBILITY
  value: {{ $v.s3.defaultVisibility | quote }}
- name: HUGBUCKET_ANONYMOUS_READ
  value: {{ $v.s3.anonymousRead | quote }}
- name: HUGBUCKET_STORE_CHECKSUMS
  value: {{ $v.s3.storeChecksums | quote }}
- name: HUGBUCKET_CORS
  value: {{ $v.s3.cors | quote }}
{{- else }}
- name: HUGBUCKET_S3_ADDR
  value: "off"
{{- end }}
{{- if $v.ftp.enabled }}
- name: HUGBUCKET_FTP_ADDR
  value: "0.0.0.0:{{ int $v.ftp.port }}"
- name: HUGBUCKET_FTP_PASSIVE_PORTS
  value: "{{ int $v.ftp.passivePorts.first }}-{{ int $v.ftp.passivePorts.last }}"
- name: HUGBUCKET_FTP_PLAINTEXT
  value: {{ $v.ftp.plaintext | quote }}
{{- if $v.ftp.implicitTls.enabled }}
- name: HUGBUCKET_FTPS_ADDR
  value: "0.0.0.0:{{ int $v.ftp.implicitTls.port }}"
{{- end }}
{{- if $v.ftp.tls.existingSecret }}
- name: HUGBUCKET_FTP_TLS_CERT_FILE
  value: /etc/hugbucket/ftp-tls/tls.crt
- name: HUGBUCKET_FTP_TLS_KEY_FILE
  value: /etc/hugbucket/ftp-tls/tls.key
{{- end }}
- name: HUGBUCKET_FTP_MAX_LIST_ENTRIES
  value: {{ int $v.ftp.maxListEntries | quote }}
- name: HUGBUCKET_FTP_PROXY_PROTOCOL
  value: {{ $v.ftp.proxyProtocol | quote }}
- name: HUGBUCKET_FTP_MAX_SESSIONS
  value: {{ int $v.ftp.maxSessions | quote }}
- name: HUGBUCKET_FTP_MAX_SESSIONS_PER_ADDRESS
  value: {{ int $v.ftp.maxSessionsPerAddress | quote }}
- name: HUGBUCKET_FTP_IDLE_TIMEOUT
  value: {{ $v.ftp.idleTimeout | quote }}
{{- with $v.ftp.passiveHost }}
- name: HUGBUCKET_FTP_PASSIVE_HOST
  value: {{ . | quote }}
{{- end }}
{{- else }}
- name: HUGBUCKET_FTP_ADDR
  value: "off"
{{- end }}
- name: HUGBUCKET_XORB_CACHE_MAX_BYTES
  value: {{ $v.caches.xorbMaxBytes | quote }}
- name: HUGBUCKET_RECON_CACHE_MAX_ENTRIES
  value: {{ int $v.caches.reconMaxEntries | quote }}
- name: HUGBUCKET_RECON_CACHE_TTL
  value: {{ $v.caches.reconTtl | quote }}
- name: HUGBUCKET_FILE_INFO_CACHE_MAX_ENTRIES
  value: {{ int $v.caches.fileInfoMaxEntries | quote }}
- name: HUGBUCKET_FILE_INFO_CACHE_TTL
  value: {{ include "hugbucket.fileInfoTtl" . | quote }}
- name: HUGBUCKET_CHANGE_FEED
  value: {{ include "hugbucket.changeFeed" . | quote }}
{{- if $v.diskCache.enabled }}
- name: HUGBUCKET_DISK_CACHE_DIR
  value: /var/cache/hugbucket
- name: HUGBUCKET_DISK_CACHE_MAX_BYTES
  value: {{ $v.diskCache.maxBytes | quote }}
{{- end }}
- name: HUGBUCKET_INGEST_MAX_BYTES
  value: {{ $v.budgets.ingestMaxBytes | quote }}
- name: HUGBUCKET_LOOKAHEAD_MAX_BYTES
  value: {{ $v.budgets.lookaheadMaxBytes | quote }}
- name: HUGBUCKET_MAX_REQUESTS
  value: {{ int $v.limits.maxRequests | quote }}
- name: HUGBUCKET_CREDENTIAL_MAX_REQUESTS
  value: {{ int $v.limits.credentialMaxRequests | quote }}
- name: HUGBUCKET_CREDENTIAL_DOWNLOAD_RATE
  value: {{ $v.limits.credentialDownloadRate | quote }}
- name: HUGBUCKET_CREDENTIAL_UPLOAD_RATE
  value: {{ $v.limits.credentialUploadRate | quote }}
- name: HUGBUCKET_S3_MAX_CONNECTIONS
  value: {{ int $v.limits.maxConnections | quote }}
- name: HUGBUCKET_S3_MAX_CONNECTIONS_PER_ADDRESS
  value: {{ int $v.limits.maxConnectionsPerAddress | quote }}
- name: HUGBUCKET_HEAD_TIMEOUT
  value: {{ $v.limits.headTimeout | quote }}
- name: HUGBUCKET_IDLE_TIMEOUT
  value: {{ $v.limits.idleTimeout | quote }}
- name: HUGBUCKET_UPLOAD_EXPIRY
  value: {{ $v.limits.uploadExpiry | quote }}
- name: HUGBUCKET_SHUTDOWN_DELAY
  value: "{{ int $v.shutdown.delaySeconds }} s"
- name: HUGBUCKET_SHUTDOWN_TIMEOUT
  value: "{{ int $v.shutdown.timeoutSeconds }} s"
- name: HUGBUCKET_LOG_FORMAT
  value: {{ $v.log.format | quote }}
- name: HUGBUCKET_AUDIT_LOG
  value: {{ $v.log.audit | quote }}
{{- if $v.tracing.enabled }}
{{ include "hugbucket.tracing" . }}
{{- end }}
{{- with $v.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The variables of OpenTelemetry. */}}
{{- define "hugbucket.tracing" -}}
{{- $v := .Values.tracing -}}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: OTEL_SERVICE_NAME
  value: {{ $v.serviceName | quote }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ $v.endpoint | quote }}
- name: OTEL_EXPORTER_OTLP_PROTOCOL
  value: {{ $v.protocol | quote }}
- name: OTEL_TRACES_SAMPLER
  value: {{ $v.sampler | quote }}
{{- with $v.samplerArg }}
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ . | quote }}
{{- end }}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: "service.instance.id=$(POD_NAME),k8s.pod.name=$(POD_NAME),k8s.namespace.name={{ .Release.Namespace }}
    {{- range $name, $text := $v.resourceAttributes }},{{ $name }}={{ $text }}{{ end }}"
{{- with $v.headers.existingSecret }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: {{ $v.headers.key }}
{{- end }}
{{- end -}}

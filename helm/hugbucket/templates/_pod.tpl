{{/* Volumes: what the gateway reads. They are mounted as folders, whose files Kubernetes replaces when their object changes. */}}
{{- define "hugbucket.volumes" -}}
{{- $v := .Values -}}
- name: config
  configMap:
    name: {{ include "hugbucket.fullname" . }}
    defaultMode: 0440
{{- if $v.development.enabled }}
- name: data
  emptyDir: {}
{{- else }}
- name: credentials
  secret:
    secretName: {{ include "hugbucket.secretName" . }}
    defaultMode: 0440
    items:
      - key: {{ $v.credentials.keys.hfToken }}
        path: HF_TOKEN
      {{- if $v.s3.enabled }}
      - key: {{ $v.credentials.keys.accessKeyId }}
        path: AWS_ACCESS_KEY_ID
      - key: {{ $v.credentials.keys.secretAccessKey }}
        path: AWS_SECRET_ACCESS_KEY
      {{- end }}
      {{- if $v.ftp.enabled }}
      - key: {{ $v.credentials.keys.ftpUsername }}
        path: FTP_USERNAME
      - key: {{ $v.credentials.keys.ftpPassword }}
        path: FTP_PASSWORD
      {{- end }}
{{- end }}
{{- if include "hugbucket.hasExtraCredentials" . }}
- name: extra-credentials
  projected:
    defaultMode: 0440
    sources:
      {{- range $i, $one := $v.s3.extraCredentials }}
      - secret:
          name: {{ $one.existingSecret }}
          items:
            - key: {{ $one.key }}
              path: s3-{{ $i }}
      {{- end }}
      {{- range $i, $one := ternary $v.ftp.extraUsers list $v.ftp.enabled }}
      - secret:
          name: {{ $one.existingSecret }}
          items:
            - key: {{ $one.key }}
              path: ftp-{{ $i }}
      {{- end }}
{{- end }}
{{- if $v.tls.existingSecret }}
- name: tls
  secret:
    secretName: {{ $v.tls.existingSecret }}
    defaultMode: 0440
{{- end }}
{{- if and $v.ftp.enabled $v.ftp.tls.existingSecret }}
- name: ftp-tls
  secret:
    secretName: {{ $v.ftp.tls.existingSecret }}
    defaultMode: 0440
{{- end }}
{{- if $v.diskCache.enabled }}
- name: disk-cache
  {{- if $v.diskCache.hostPath }}
  hostPath:
    path: {{ $v.diskCache.hostPath }}
    type: DirectoryOrCreate
  {{- else }}
  emptyDir:
    {{- /* The bound is kept by the gateway; this one, a tenth above it, would end the pod. */}}
    {{- with include "hugbucket.mebibytes" $v.diskCache.maxBytes }}
    sizeLimit: {{ add (div (mul (int64 .) 11) 10) 64 }}Mi
    {{- end }}
  {{- end }}
{{- end }}
{{- with $v.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "hugbucket.volumeMounts" -}}
{{- $v := .Values -}}
- name: config
  mountPath: /etc/hugbucket/config
  readOnly: true
{{- if $v.development.enabled }}
- name: data
  mountPath: /var/lib/hugbucket
{{- else }}
- name: credentials
  mountPath: /etc/hugbucket/credentials
  readOnly: true
{{- end }}
{{- if include "hugbucket.hasExtraCredentials" . }}
- name: extra-credentials
  mountPath: /etc/hugbucket/extra
  readOnly: true
{{- end }}
{{- if $v.tls.existingSecret }}
- name: tls
  mountPath: /etc/hugbucket/tls
  readOnly: true
{{- end }}
{{- if and $v.ftp.enabled $v.ftp.tls.existingSecret }}
- name: ftp-tls
  mountPath: /etc/hugbucket/ftp-tls
  readOnly: true
{{- end }}
{{- if $v.diskCache.enabled }}
- name: disk-cache
  mountPath: /var/cache/hugbucket
{{- end }}
{{- with $v.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "hugbucket.hasExtraCredentials" -}}
{{- if or .Values.s3.extraCredentials (and .Values.ftp.enabled .Values.ftp.extraUsers) -}}true{{- end -}}
{{- end -}}

{{/* Spread over nodes and zones, softly: a cluster of one node runs all replicas too. */}}
{{- define "hugbucket.topologySpread" -}}
{{- $selector := dict "matchLabels" (include "hugbucket.selectorLabels" . | fromYaml) -}}
{{- $soft := list
      (dict "maxSkew" 1 "topologyKey" "kubernetes.io/hostname" "whenUnsatisfiable" "ScheduleAnyway")
      (dict "maxSkew" 1 "topologyKey" "topology.kubernetes.io/zone" "whenUnsatisfiable" "ScheduleAnyway") -}}
{{- range default $soft .Values.topologySpread.constraints }}
- {{ merge (dict) . (dict "labelSelector" $selector) | toYaml | nindent 2 | trim }}
{{- end }}
{{- end -}}

{{/* A probe of the admin port. */}}
{{- define "hugbucket.probe" -}}
httpGet:
  path: {{ .path }}
  port: admin
{{ toYaml .times }}
{{- end -}}

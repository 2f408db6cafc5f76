{{/* Name of the chart or what replaces it. */}}
{{- define "hugbucket.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Name of all objects; short enough for a suffix of ours behind it. */}}
{{- define "hugbucket.fullname" -}}
{{- $name := include "hugbucket.name" . -}}
{{- $full := printf "%s-%s" .Release.Name $name -}}
{{- if contains $name .Release.Name -}}{{- $full = .Release.Name -}}{{- end -}}
{{- default $full .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* What pods are selected by. A Deployment's selector cannot change: nothing may be added here. */}}
{{- define "hugbucket.selectorLabels" -}}
app.kubernetes.io/name: {{ include "hugbucket.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: gateway
{{- end -}}

{{/* Labels of everything but pods that are selected. */}}
{{- define "hugbucket.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "hugbucket.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: hugbucket
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "hugbucket.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "hugbucket.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "hugbucket.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}
{{- else -}}{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "hugbucket.secretName" -}}
{{- default (include "hugbucket.fullname" .) .Values.credentials.existingSecret -}}
{{- end -}}

{{/* "true" if more than one pod may run at a time. */}}
{{- define "hugbucket.isReplicated" -}}
{{- if .Values.autoscaling.enabled -}}
{{- if gt (int .Values.autoscaling.maxReplicas) 1 -}}true{{- end -}}
{{- else if gt (int .Values.replicaCount) 1 -}}true{{- end -}}
{{- end -}}

{{/* Replicas that are not told of each other's writes look each time. */}}
{{- define "hugbucket.fileInfoTtl" -}}
{{- if .Values.caches.fileInfoTtl -}}{{ .Values.caches.fileInfoTtl }}
{{- else if and (include "hugbucket.isReplicated" .) (eq .Values.caches.changeFeed "off") -}}0
{{- else -}}30 s
{{- end -}}
{{- end -}}

{{/* Several replicas remember only what they are told the changes of, unless somebody chose for how long they may be wrong. */}}
{{- define "hugbucket.changeFeed" -}}
{{- if eq .Values.caches.changeFeed "off" -}}off
{{- else if and (include "hugbucket.isReplicated" .) (empty .Values.caches.fileInfoTtl) -}}required
{{- else -}}auto
{{- end -}}
{{- end -}}

{{/* Seconds that a pod needs for its end: what it waits, what it drains, and five for the last spans. */}}
{{- define "hugbucket.neededGraceSeconds" -}}
{{- $sleep := dig "preStop" "sleep" "seconds" 0 .Values.lifecycle -}}
{{- add (int $sleep) (int .Values.shutdown.delaySeconds) (int .Values.shutdown.timeoutSeconds) 5 -}}
{{- end -}}

{{- define "hugbucket.graceSeconds" -}}
{{- $given := .Values.terminationGracePeriodSeconds -}}
{{- if kindIs "invalid" $given -}}{{ add (include "hugbucket.neededGraceSeconds" . | int) 10 }}
{{- else -}}{{ int $given }}
{{- end -}}
{{- end -}}

{{/* Mebibytes of a size such as `512 MiB`, `2Gi`, or `4G`; nothing for what is no such text. */}}
{{- define "hugbucket.mebibytes" -}}
{{- $text := toString . | replace " " "" -}}
{{- if regexMatch "^[0-9]+(Ki|Mi|Gi|Ti|k|M|G|T|)B?$" $text -}}
{{- $number := regexFind "^[0-9]+" $text | int64 -}}
{{- $unit := regexFind "[KMGTk]i?" $text -}}
{{- $factors := dict "" 1 "Ki" 1024 "k" 1000 "Mi" 1048576 "M" 1000000 "Gi" 1073741824 "G" 1000000000 "Ti" 1099511627776 "T" 1000000000000 -}}
{{- div (mul $number (get $factors $unit | int64)) 1048576 -}}
{{- end -}}
{{- end -}}

{{/* Mebibytes that the gateway may use: caches, budgets, and 128 for itself and its requests. */}}
{{- define "hugbucket.neededMebibytes" -}}
{{- $sum := 128 -}}
{{- range list .Values.caches.xorbMaxBytes .Values.budgets.ingestMaxBytes .Values.budgets.lookaheadMaxBytes -}}
{{- $sum = add $sum (include "hugbucket.mebibytes" . | int64) -}}
{{- end -}}
{{- $sum -}}
{{- end -}}

{{/* Address of the S3 endpoint inside the cluster. */}}
{{- define "hugbucket.endpoint" -}}
{{- $scheme := ternary "https" "http" (not (empty .Values.tls.existingSecret)) -}}
{{ $scheme }}://{{ include "hugbucket.fullname" . }}.{{ .Release.Namespace }}.svc:{{ .Values.s3.service.port }}
{{- end -}}

{{/*
Refuses values that would make a release nobody wants: one sentence each, before anything is rendered. What a value may look
like is told by values.schema.json; here is what must fit together.
*/}}
{{- define "hugbucket.validate" -}}
{{- $v := .Values -}}
{{- $given := list $v.credentials.hfToken $v.credentials.accessKeyId $v.credentials.secretAccessKey $v.credentials.ftpUsername $v.credentials.ftpPassword | compact -}}

{{- if $v.development.enabled -}}
  {{- if include "hugbucket.isReplicated" . -}}
    {{- fail "development.enabled: each pod would have a development Hub of its own; set replicaCount to 1 and autoscaling.enabled to false" -}}
  {{- end -}}
  {{- if or $v.credentials.existingSecret $given -}}
    {{- fail "development.enabled: the development Hub brings its own credentials; remove those of `credentials`" -}}
  {{- end -}}
{{- else if $v.credentials.existingSecret -}}
  {{- if $given -}}
    {{- fail "credentials: choose one, existingSecret or values for a Secret made by the chart" -}}
  {{- end -}}
{{- else -}}
  {{- if or (empty $v.credentials.hfToken) (and $v.s3.enabled (or (empty $v.credentials.accessKeyId) (empty $v.credentials.secretAccessKey))) -}}
    {{- fail "credentials are missing: name a Secret in credentials.existingSecret, or give credentials.hfToken, credentials.accessKeyId, and credentials.secretAccessKey" -}}
  {{- end -}}
  {{- if and $v.ftp.enabled (or (empty $v.credentials.ftpUsername) (empty $v.credentials.ftpPassword)) -}}
    {{- fail "ftp.enabled: give credentials.ftpUsername and credentials.ftpPassword, or name a Secret that holds them in credentials.existingSecret" -}}
  {{- end -}}
{{- end -}}

{{- if not (or $v.s3.enabled $v.ftp.enabled) -}}
  {{- fail "there is nothing to serve: s3.enabled and ftp.enabled are both false" -}}
{{- end -}}

{{- if $v.ftp.enabled -}}
  {{- $first := int $v.ftp.passivePorts.first -}}
  {{- $last := int $v.ftp.passivePorts.last -}}
  {{- if gt $first $last -}}
    {{- fail (printf "ftp.passivePorts: first (%d) is greater than last (%d)" $first $last) -}}
  {{- end -}}
  {{- if gt (add (sub $last $first) 1) 100 -}}
    {{- fail (printf "ftp.passivePorts: %d ports are too many for a Service, whose ports are listed one by one; give at most 100" (add (sub $last $first) 1)) -}}
  {{- end -}}
  {{- $certificate := or $v.ftp.tls.existingSecret $v.tls.existingSecret -}}
  {{- if and (ne $v.ftp.plaintext "always") (empty $certificate) -}}
    {{- fail "ftp.enabled: nobody could log in; name a certificate in ftp.tls.existingSecret or tls.existingSecret, or set ftp.plaintext to always, which sends passwords as they are" -}}
  {{- end -}}
  {{- if and $v.ftp.implicitTls.enabled (empty $certificate) -}}
    {{- fail "ftp.implicitTls.enabled: name a certificate in ftp.tls.existingSecret or tls.existingSecret" -}}
  {{- end -}}
  {{- range list $v.s3.port $v.ftp.port $v.ftp.implicitTls.port $v.admin.port -}}
    {{- if and (ge (int .) $first) (le (int .) $last) -}}
      {{- fail (printf "ftp.passivePorts: port %d is another listener's" (int .)) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}

{{- if lt (include "hugbucket.graceSeconds" . | int) (include "hugbucket.neededGraceSeconds" . | int) -}}
  {{- fail (printf "terminationGracePeriodSeconds: pods would be killed while they drain; shutdown and lifecycle need at least %s seconds" (include "hugbucket.neededGraceSeconds" .)) -}}
{{- end -}}

{{- $limit := include "hugbucket.mebibytes" (dig "limits" "memory" "" $v.resources) -}}
{{- if and $limit (lt (int64 $limit) (include "hugbucket.neededMebibytes" . | int64)) -}}
  {{- fail (printf "resources.limits.memory: %s MiB are less than caches and budgets may take; give at least %s MiB, or lower caches.xorbMaxBytes, budgets.ingestMaxBytes, or budgets.lookaheadMaxBytes" $limit (include "hugbucket.neededMebibytes" .)) -}}
{{- end -}}

{{- if regexMatch "(?im)^\\s*(hf_token|aws_secret_access_key|ftp_password|secret_access_key|password)\\s*=" $v.config -}}
  {{- fail "config: secrets do not belong into a ConfigMap; use credentials, s3.extraCredentials, ftp.extraUsers, or the keys that end in _file" -}}
{{- end -}}

{{- if and $v.tracing.enabled (empty $v.tracing.endpoint) -}}
  {{- fail "tracing.enabled: give the collector's address in tracing.endpoint" -}}
{{- end -}}

{{- if $v.autoscaling.enabled -}}
  {{- if gt (int $v.autoscaling.minReplicas) (int $v.autoscaling.maxReplicas) -}}
    {{- fail (printf "autoscaling: minReplicas (%d) is greater than maxReplicas (%d)" (int $v.autoscaling.minReplicas) (int $v.autoscaling.maxReplicas)) -}}
  {{- end -}}
  {{- if not (or $v.autoscaling.targetCPUUtilizationPercentage $v.autoscaling.targetMemoryUtilizationPercentage $v.autoscaling.metrics) -}}
    {{- fail "autoscaling: there is no metric to scale by" -}}
  {{- end -}}
  {{- if and $v.autoscaling.targetCPUUtilizationPercentage (not (dig "requests" "cpu" "" $v.resources)) -}}
    {{- fail "autoscaling.targetCPUUtilizationPercentage: a percentage of the CPU request needs resources.requests.cpu" -}}
  {{- end -}}
{{- end -}}

{{- with $v.podDisruptionBudget -}}
{{- if .enabled -}}
  {{- if and (not (kindIs "invalid" .minAvailable)) (not (kindIs "invalid" .maxUnavailable)) -}}
    {{- fail "podDisruptionBudget: give minAvailable or maxUnavailable, not both" -}}
  {{- end -}}
  {{- $pods := ternary $v.autoscaling.minReplicas $v.replicaCount $v.autoscaling.enabled | int -}}
  {{- if and (not (kindIs "invalid" .minAvailable)) (not (kindIs "string" .minAvailable)) (ge (int .minAvailable) $pods) -}}
    {{- fail (printf "podDisruptionBudget.minAvailable: %d of %d pods would block every drain of a node" (int .minAvailable) $pods) -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{- if and $v.ingress.enabled (empty $v.ingress.hosts) -}}
  {{- fail "ingress.enabled: give at least one host in ingress.hosts" -}}
{{- end -}}
{{- if and $v.httpRoute.enabled (empty $v.httpRoute.parentRefs) -}}
  {{- fail "httpRoute.enabled: give at least one Gateway in httpRoute.parentRefs" -}}
{{- end -}}
{{- if and (or $v.ingress.enabled $v.httpRoute.enabled) (not $v.s3.enabled) -}}
  {{- fail "ingress and httpRoute offer S3, but s3.enabled is false" -}}
{{- end -}}
{{- end -}}

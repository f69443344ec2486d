{{- define "tcpclose.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "tcpclose.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "tcpclose.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "tcpclose.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "tcpclose.selectorLabels" -}}
app.kubernetes.io/name: {{ include "tcpclose.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "tcpclose.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "tcpclose.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "tcpclose.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "tcpclose.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "tcpclose.image" -}}
{{- $repository := required "image.repository is not set: build the image, push it to a registry of yours, and name it, as in --set image.repository=registry.example/tcpclose" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "tcpclose.config" -}}
{{- tpl .Values.config . -}}
{{- end -}}

{{- /* Kubernetes before 1.30 has the profile in an annotation. */ -}}
{{- define "tcpclose.appArmorAnnotation" -}}
{{- $profile := .Values.appArmorProfile -}}
{{- if eq $profile.type "Localhost" -}}
localhost/{{ $profile.localhostProfile }}
{{- else if eq $profile.type "RuntimeDefault" -}}
runtime/default
{{- else -}}
unconfined
{{- end -}}
{{- end -}}

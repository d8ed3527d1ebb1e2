{{/* (list $ component): what the pod of a component has around its container. */}}
{{- define "linkspan.pod" -}}
{{- $root := first . -}}
{{- $own := fromYaml (include "linkspan.component" .) -}}
serviceAccountName: {{ include "linkspan.serviceAccount" $root }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with $own.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
terminationGracePeriodSeconds: {{ $own.terminationGracePeriodSeconds }}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ $root.Values.user }}
  runAsGroup: {{ $root.Values.user }}
  fsGroup: {{ $root.Values.user }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with $own.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $own.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{ include "linkspan.spread" (list $root (last .) $own) }}
{{- end -}}

{{/* (list $ component own): replicas on different hosts, and evenly over the zones, as far as there are any. */}}
{{- define "linkspan.spread" -}}
{{- $selector := include "linkspan.selector" (list (first .) (index . 1)) -}}
{{- $own := last . -}}
{{- if $own.affinity }}
affinity:
  {{- toYaml $own.affinity | nindent 2 }}
{{- else if eq $own.antiAffinity "hard" }}
affinity:
  podAntiAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- $selector | nindent 12 }}
{{- else if eq $own.antiAffinity "soft" }}
affinity:
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels:
              {{- $selector | nindent 14 }}
{{- end }}
{{- if $own.spreadOverZones }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: topology.kubernetes.io/zone
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- $selector | nindent 8 }}
{{- end }}
{{- end -}}

{{- define "linkspan.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{/* (list $ component): image, ports, probes, resources of the container. /live and /ready ask neither system nor database. */}}
{{- define "linkspan.container" -}}
{{- $root := first . -}}
{{- $own := fromYaml (include "linkspan.component" .) -}}
{{- $scheme := upper (include "linkspan.scheme" $root) -}}
name: {{ last . }}
image: {{ include "linkspan.image" $root | quote }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
{{ include "linkspan.containerSecurity" $root }}
resources:
  {{- toYaml $own.resources | nindent 2 }}
ports:
  - {name: http, containerPort: 8080, protocol: TCP}
  {{- if has (last .) (list "ingress" "egress" "egress-canary") }}
  - {name: control, containerPort: 50051, protocol: TCP}
  {{- end }}
startupProbe:
  httpGet: {path: /live, port: http, scheme: {{ $scheme }}}
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: 90
livenessProbe:
  httpGet: {path: /live, port: http, scheme: {{ $scheme }}}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: {{ ternary "/live" "/ready" (eq true $own.acceptWithoutKafka) }}, port: http, scheme: {{ $scheme }}}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
{{- end -}}

{{- define "linkspan.mounts" -}}
- {name: integration, mountPath: /etc/linkspan/integration, readOnly: true}
{{ if include "linkspan.schemasMap" . -}}
- {name: schemas, mountPath: /etc/linkspan/integration/{{ .Values.integration.schemasFolder }}, readOnly: true}
{{ end -}}
- {name: tmp, mountPath: /tmp}
{{ if .Values.kafka.sasl.mechanism -}}
- {name: kafka, mountPath: /etc/linkspan/kafka, readOnly: true}
{{ end -}}
{{ if .Values.encryption.existingSecret -}}
- {name: keyring, mountPath: /etc/linkspan/keyring, readOnly: true}
{{ end -}}
{{ if .Values.database.existingSecret -}}
- {name: database, mountPath: /etc/linkspan/database, readOnly: true}
{{ end -}}
{{ include "linkspan.secretMounts" . -}}
{{- end -}}

{{- define "linkspan.secretMounts" -}}
{{ range $letter, $system := .Values.systems -}}
{{ if $system.existingSecret -}}
- {name: system-{{ $letter }}, mountPath: /etc/linkspan/system-{{ $letter }}, readOnly: true}
{{ end -}}
{{ end -}}
{{ if .Values.tls.existingSecret -}}
- {name: tls, mountPath: /etc/linkspan/tls, readOnly: true}
{{ end -}}
{{ if or .Values.ca.existingSecret .Values.ca.existingConfigMap -}}
- {name: ca, mountPath: /etc/linkspan/ca, readOnly: true}
{{ end -}}
{{- end -}}

{{/* (list $ hook): of what linkspan.mounts mounts. */}}
{{- define "linkspan.volumes" -}}
{{- $root := first . -}}
{{- $suffix := ternary "-hook" "" (last .) -}}
- name: integration
  configMap: {name: {{ include "linkspan.integrationMap" $root }}{{ if not $root.Values.integration.existingConfigMap }}{{ $suffix }}{{ end }}}
{{ with include "linkspan.schemasMap" $root -}}
- name: schemas
  configMap: {name: {{ . }}{{ if not $root.Values.integration.existingSchemasConfigMap }}{{ $suffix }}{{ end }}}
{{ end -}}
- name: tmp
  emptyDir: {sizeLimit: {{ $root.Values.tmpSize }}}
{{ if $root.Values.kafka.sasl.mechanism -}}
- name: kafka
  secret: {secretName: {{ $root.Values.kafka.sasl.existingSecret }}, defaultMode: 0440}
{{ end -}}
{{ with $root.Values.encryption.existingSecret -}}
- name: keyring
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{ end -}}
{{ with $root.Values.database.existingSecret -}}
- name: database
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{ end -}}
{{ include "linkspan.secretVolumes" $root -}}
{{- end -}}

{{- define "linkspan.secretVolumes" -}}
{{ range $letter, $system := .Values.systems -}}
{{ with $system.existingSecret -}}
- name: system-{{ $letter }}
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{ end -}}
{{ end -}}
{{ with .Values.tls.existingSecret -}}
- name: tls
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{ end -}}
{{ if .Values.ca.existingSecret -}}
- name: ca
  secret: {secretName: {{ .Values.ca.existingSecret }}, defaultMode: 0444}
{{ else if .Values.ca.existingConfigMap -}}
- name: ca
  configMap: {name: {{ .Values.ca.existingConfigMap }}}
{{ end -}}
{{- end -}}

{{/* Of the control API's files. */}}
{{- define "linkspan.controlMounts" -}}
{{ if .Values.control.tokens.existingSecret -}}
- {name: tokens, mountPath: /etc/linkspan/tokens, readOnly: true}
{{ end -}}
{{ if .Values.control.clientCa.existingSecret -}}
- {name: clients, mountPath: /etc/linkspan/clients, readOnly: true}
{{ end -}}
{{- end -}}

{{- define "linkspan.controlVolumes" -}}
{{ with .Values.control.tokens.existingSecret -}}
- name: tokens
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{ end -}}
{{ with .Values.control.clientCa.existingSecret -}}
- name: clients
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{ end -}}
{{- end -}}

{{/* Where large content lies, and the archive: a store by its address, or a volume that ingress, egress and archive share. */}}
{{- define "linkspan.blobsVolume" -}}
{{ if not .Values.blobs.url -}}
- name: blobs
  persistentVolumeClaim: {claimName: {{ default (printf "%s-blobs" (include "linkspan.fullname" .)) .Values.blobs.existingClaim }}}
{{ end -}}
{{- end -}}

{{- define "linkspan.blobsMount" -}}
{{ if not .Values.blobs.url -}}
- {name: blobs, mountPath: /blobs}
{{ end -}}
{{- end -}}

{{- define "linkspan.blobsVariable" -}}
- name: LINKSPAN_BLOBS
  value: {{ default "/blobs" .Values.blobs.url | quote }}
{{- with .Values.archive.url }}
- name: LINKSPAN_ARCHIVE
  value: {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "linkspan.blobsSecret" -}}
{{ with .Values.blobs.existingSecret -}}
envFrom:
  - secretRef: {name: {{ . }}}
{{- end -}}
{{- end -}}

{{/* Annotations and labels of a pod: (list $ component). */}}
{{- define "linkspan.podMetadata" -}}
{{- $own := fromYaml (include "linkspan.component" .) -}}
annotations:
  linkspan/integration: {{ include "linkspan.checksum" (first .) }}
  {{- with $own.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
labels:
  {{- include "linkspan.labels" . | nindent 2 }}
  {{- with $own.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

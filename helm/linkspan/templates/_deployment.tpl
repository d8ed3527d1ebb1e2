{{/* (list $ component arguments extraEnvironment extraMounts extraVolumes): the Deployment of egress, its canary, ledger, insight or archive. */}}
{{- define "linkspan.deployment" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $own := get $root.Values $component -}}
{{- $it := list $root $component -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "linkspan.metadata" $it | nindent 2 }}
spec:
  {{- if not (eq true (dig "autoscaling" "enabled" false $own)) }}
  replicas: {{ $own.replicas }}
  {{- end }}
  # The new one joins before an old one leaves: each partition moves once, and somebody owns it all the while.
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
  minReadySeconds: 5
  revisionHistoryLimit: 5
  progressDeadlineSeconds: 600
  selector:
    matchLabels:
      {{- include "linkspan.selector" $it | nindent 6 }}
  template:
    metadata:
      {{- include "linkspan.podMetadata" $it | nindent 6 }}
    spec:
      {{- include "linkspan.pod" $it | nindent 6 }}
      containers:
        - {{- include "linkspan.container" $it | nindent 10 }}
          args:
            - {{ trimSuffix "-canary" $component }}
            {{- if eq $component "archive" }}
            - run
            {{- end }}
            - /etc/linkspan/integration/integration.yaml
            - --host=0.0.0.0
            - --port=8080
            {{- with index . 2 }}
            {{- . | trim | nindent 12 }}
            {{- end }}
          env:
            {{- include "linkspan.environment" $root | trim | nindent 12 }}
            - {name: LINKSPAN_DATA, value: /data}
            {{- with index . 3 }}
            {{- . | trim | nindent 12 }}
            {{- end }}
            {{- with $own.extraEnv }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          {{- if has $component (list "egress" "egress-canary" "archive") }}
          {{- include "linkspan.blobsSecret" $root | nindent 10 }}
          {{- end }}
          lifecycle:
            preStop:
              sleep: {seconds: {{ $own.preStopSeconds }}}
          volumeMounts:
            {{- include "linkspan.mounts" $root | trim | nindent 12 }}
            - {name: data, mountPath: /data}
            {{- with index . 4 }}
            {{- . | trim | nindent 12 }}
            {{- end }}
      volumes:
        {{- include "linkspan.volumes" (list $root false) | trim | nindent 8 }}
        - name: data
          emptyDir: {sizeLimit: {{ $own.dataSize }}}
        {{- with index . 5 }}
        {{- . | trim | nindent 8 }}
        {{- end }}
{{- end -}}

{{/* (list $ component ports): a Service of the component; its label is the job's name in Prometheus, which the alerts know. */}}
{{- define "linkspan.service" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $own := fromYaml (include "linkspan.component" .) -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "linkspan.metadata" (list $root $component) | nindent 2 }}
    linkspan/job: {{ ternary $component (printf "linkspan-%s" (trimSuffix "-canary" $component)) (has $component (list "plan-manager" "analysis")) }}
  {{- with (dig "service" "annotations" dict $own) }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  type: {{ dig "service" "type" "ClusterIP" $own }}
  sessionAffinity: {{ dig "service" "sessionAffinity" "None" $own }}
  selector:
    {{- include "linkspan.selector" (list $root $component) | nindent 4 }}
  ports:
    - {name: http, port: 80, targetPort: http, protocol: TCP}
    {{- if $root.Values.tls.existingSecret }}
    - {name: https, port: 443, targetPort: http, protocol: TCP}
    {{- end }}
    {{- if has $component (list "ingress" "egress" "egress-canary") }}
    - {name: control, port: 50051, targetPort: control, protocol: TCP}
    {{- end }}
{{- end -}}

{{/* (list $ component): a node that is drained takes one replica at a time. */}}
{{- define "linkspan.budget" -}}
{{- if (get (first .).Values (last .)).disruptionBudget.enabled }}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "linkspan.metadata" . | nindent 2 }}
spec:
  maxUnavailable: {{ (get (first .).Values (last .)).disruptionBudget.maxUnavailable }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "linkspan.selector" . | nindent 6 }}
{{- end }}
{{- end -}}

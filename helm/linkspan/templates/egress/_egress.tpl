{{/* (list $ component): the Deployment of egress, or of its canary, whose values stand under its name. */}}
{{- define "linkspan.egress" -}}
{{- $root := first . -}}
{{- $environment := printf "%s\n%s" (include "linkspan.blobsVariable" $root) (include "linkspan.control" $root) }}
{{- $mounts := printf "%s\n%s" (include "linkspan.blobsMount" $root | trim) (include "linkspan.controlMounts" $root) }}
{{- $volumes := printf "%s\n%s" (include "linkspan.blobsVolume" $root | trim) (include "linkspan.controlVolumes" $root) }}
{{- include "linkspan.deployment" (list $root (last .) "- --control-port=50051" $environment $mounts $volumes) }}
{{- end -}}

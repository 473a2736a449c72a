"""Run quantized networks: accuracy, choice by measured loss, evidence."""

"""What the offline writer says itself in other languages than English: questions and openings.

There an answer is an opening and sentences of the museum's own description. Questions ask for all
of it, since nobody knows which sentence answers what; they name no kind of object.
"""

from __future__ import annotations

from typing import NamedTuple


class Phrases(NamedTuple):
    """One language: the questions of visitors, and openings with a place for the title."""

    questions: tuple[str, ...]
    openings: tuple[str, ...]


PHRASES: dict[str, Phrases] = {
    "de": Phrases(
        (
            "Was ist das?",
            "Was sehe ich hier?",
            "Was können Sie mir darüber erzählen?",
            "Was weiß das Museum darüber?",
            "Welche Geschichte steckt dahinter?",
            "So etwas habe ich noch nie gesehen. Was ist es?",
            "Was sollte ich hierüber wissen?",
            "Was würde eine Führung dazu sagen?",
        ),
        (
            "Sie sehen hier: {title}.",
            "Vor Ihnen: {title}.",
            "So heißt dieses Stück: {title}.",
            "Das ist es, was Sie hier sehen: {title}.",
            "Unser Museum nennt es so: {title}.",
        ),
    ),
    "fr": Phrases(
        (
            "Qu'est-ce que c'est ?",
            "Qu'est-ce que je vois ici ?",
            "Que pouvez-vous m'en dire ?",
            "Qu'en sait le musée ?",
            "Quelle en est l'histoire ?",
            "Je n'ai jamais rien vu de tel. De quoi s'agit-il ?",
            "Que faut-il en savoir ?",
            "Que dirait un guide à ce sujet ?",
        ),
        (
            "Vous voyez ici : {title}.",
            "Devant vous : {title}.",
            "Voici son nom : {title}.",
            "Voici ce que vous regardez : {title}.",
            "Notre musée l'appelle ainsi : {title}.",
        ),
    ),
    "es": Phrases(
        (
            "¿Qué es esto?",
            "¿Qué estoy viendo aquí?",
            "¿Qué puede contarme sobre esto?",
            "¿Qué sabe el museo de esto?",
            "¿Qué historia hay detrás de esto?",
            "Nunca he visto nada igual. ¿De qué se trata?",
            "¿Qué debería saber sobre esto?",
            "¿Qué diría un guía sobre esto?",
        ),
        (
            "Aquí ve usted: {title}.",
            "Ante usted: {title}.",
            "Este es su nombre: {title}.",
            "Esto es lo que está viendo: {title}.",
            "Nuestro museo lo llama así: {title}.",
        ),
    ),
    "it": Phrases(
        (
            "Che cos'è questo?",
            "Che cosa vedo qui?",
            "Che cosa può raccontarmi in proposito?",
            "Che cosa ne sa il museo?",
            "Quale storia c'è dietro?",
            "Non ho mai visto nulla di simile. Di che cosa si tratta?",
            "Che cosa dovrei saperne?",
            "Che cosa ne direbbe una guida?",
        ),
        (
            "Qui vede: {title}.",
            "Davanti a Lei: {title}.",
            "Ecco il suo nome: {title}.",
            "Ecco che cosa sta guardando: {title}.",
            "Il nostro museo lo chiama così: {title}.",
        ),
    ),
    "nl": Phrases(
        (
            "Wat is dit?",
            "Wat zie ik hier?",
            "Wat kunt u mij hierover vertellen?",
            "Wat weet het museum hierover?",
            "Welk verhaal zit hierachter?",
            "Zoiets heb ik nog nooit gezien. Wat is het?",
            "Wat moet ik hierover weten?",
            "Wat zou een gids hierover zeggen?",
        ),
        (
            "U ziet hier: {title}.",
            "Voor u: {title}.",
            "Zo heet het: {title}.",
            "Dit is wat u hier ziet: {title}.",
            "Ons museum noemt het zo: {title}.",
        ),
    ),
    "ru": Phrases(
        (
            "Что это?",
            "Что я здесь вижу?",
            "Что вы можете об этом рассказать?",
            "Что об этом известно музею?",
            "Какая за этим стоит история?",
            "Я никогда не видел ничего подобного. Что это такое?",
            "Что мне следует об этом знать?",
            "Что сказал бы об этом экскурсовод?",
        ),
        (
            "Вы видите здесь: {title}.",
            "Перед вами: {title}.",
            "Вот как это называется: {title}.",
            "Вот что вы здесь видите: {title}.",
            "Наш музей называет это так: {title}.",
        ),
    ),
    "zh": Phrases(
        (
            "这是什么？",
            "我在这里看到的是什么？",
            "您能给我讲讲它吗？",
            "博物馆对它了解多少？",
            "它背后有什么故事？",
            "我从没见过这样的东西，这是什么？",
            "关于它，我应该知道些什么？",
            "讲解员会怎么介绍它？",
        ),
        (
            "您看到的是：{title}。",
            "您面前的是：{title}。",
            "它的名称是：{title}。",
            "这里展出的是：{title}。",
            "本馆这样称呼它：{title}。",
        ),
    ),
    "ja": Phrases(
        (
            "これは何ですか。",
            "ここに見えるものは何ですか。",
            "これについて教えていただけますか。",
            "これについて何が分かっていますか。",
            "これにはどんな歴史がありますか。",
            "こんなものは初めて見ました。何ですか。",
            "これについて何を知っておくべきですか。",
            "ガイドさんはこれをどう説明しますか。",
        ),
        (
            "こちらは次の展示品です：{title}。",
            "目の前にあるのは、{title}です。",
            "こちらの名称は、{title}です。",
            "ここでご覧いただいているのは、{title}です。",
            "当館ではこれを、{title}と呼んでいます。",
        ),
    ),
}
